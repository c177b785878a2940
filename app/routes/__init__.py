"""The HTTP routes: parse, call the engine, encode."""

from fastapi import APIRouter

from app.routes import catalog, datasets, generation, health, images, pictures, stream

PARTS = (generation, images, pictures, stream, datasets, catalog, health)
ROUTERS: tuple[APIRouter, ...] = tuple(part.router for part in PARTS)
