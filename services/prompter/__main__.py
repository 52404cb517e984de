"""`python -m services.prompter`."""

from services.prompter.app import build
from services.prompter.settings import PrompterSettings
from shared.service.main import run_service

if __name__ == "__main__":
    run_service("prompter", "Delivers prompts to the company's webhook.", PrompterSettings, build)
