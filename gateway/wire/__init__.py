"""HTTP/1.1 on both sides of the gateway: pure framing, a server protocol, pools of upstream connections."""
