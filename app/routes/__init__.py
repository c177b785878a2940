"""The HTTP routes: parse, call the engine, encode."""

from fastapi import APIRouter

from app.routes import catalog, generation, health, images

ROUTERS: tuple[APIRouter, ...] = (generation.router, images.router, catalog.router, health.router)
