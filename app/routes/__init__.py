"""The HTTP routes: parse, call the engine, encode."""

from fastapi import APIRouter

from app.routes import catalog, generation, health, images, pictures, stream

PARTS = (generation, images, pictures, stream, catalog, health)
ROUTERS: tuple[APIRouter, ...] = tuple(part.router for part in PARTS)
