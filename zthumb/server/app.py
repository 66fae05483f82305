"""The application: routes around a studio. It keeps no state outside the app object."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from foundation.errors import BadInput
from zthumb.server.schemas import GenerateAnswer, GenerateRequest, HealthAnswer, ModelsAnswer
from zthumb.server.settings import Settings
from zthumb.server.studio import Studio


def create_app(settings: Settings) -> FastAPI:
    """Load the base and answer requests for it; ``BadInput`` when the base or the default adapter cannot be used."""
    app = FastAPI(title="zthumb", summary="SDXL pictures with adapters that never leak")
    studio = Studio(settings)
    app.state.studio = studio

    @app.exception_handler(BadInput)
    def refuse(_: Request, error: BadInput) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=422)

    @app.post("/generate")
    def generate(request: GenerateRequest) -> GenerateAnswer:
        """Make pictures of a prompt, with or without an adapter."""
        return studio.generate(request)

    @app.get("/models")
    def models() -> ModelsAnswer:
        """What this server serves."""
        return studio.models()

    @app.get("/health")
    def health() -> HealthAnswer:
        """Answers only once the base is loaded and has made a picture."""
        return HealthAnswer(status="ok", ready=True)

    return app
