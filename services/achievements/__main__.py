"""`python -m services.achievements`."""

from services.achievements.app import build
from services.achievements.settings import AchievementsSettings
from shared.service.main import run_service

if __name__ == "__main__":
    run_service(
        "achievements",
        "Turns what feeds.achievements says was done into achievements on the employee's log.",
        AchievementsSettings,
        build,
    )
