"""`python -m services.prompter`."""

from services.prompter.app import build
from services.prompter.settings import PrompterSettings
from shared.service.main import run_service

if __name__ == "__main__":
    run_service("prompter", "Tells sponsors of prompts, by the company's policy and channels.", PrompterSettings, build)
