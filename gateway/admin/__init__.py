"""The control plane: a FastAPI app at `/admin` that operates a running gateway.

Importing this package costs nothing; `gateway.admin.app` is what brings FastAPI in.
"""
