"""Keys, teams, prices, holds, ledger, usage: everything that must not be lost."""
