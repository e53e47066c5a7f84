from tests.attacks.conftest import lived, scene

__all__ = ["lived", "scene"]  # the scene of the corpus, for whoever judges it a second time
