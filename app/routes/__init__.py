"""The HTTP routes: parse, call the engine, encode."""

from fastapi import APIRouter

from app.routes import catalog, generation, health, images, stream

ROUTERS: tuple[APIRouter, ...] = (generation.router, images.router, stream.router, catalog.router, health.router)
