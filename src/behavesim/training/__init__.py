"""The Lightning side: module, optimiser groups, callbacks."""
