"""Adaptations behind HTTP: one file a concern; FastAPI and uvicorn are imported by what needs them."""
