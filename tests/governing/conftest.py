from tests.loop.conftest import keys, ledger
from tests.models.conftest import no_credentials_of_this_machine

__all__ = ["keys", "ledger", "no_credentials_of_this_machine"]
