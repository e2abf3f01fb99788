"""The FastAPI application, one router a noun."""
