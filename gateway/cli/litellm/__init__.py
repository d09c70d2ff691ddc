"""`turnpike import litellm`: a LiteLLM proxy's configuration, people, keys, budgets and spend, in our words."""
