"""The HTTP face: application, lifespan, routers, errors."""
