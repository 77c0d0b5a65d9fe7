# SPDX-License-Identifier: MIT
"""The old name of `cyncore.smtpd`: whoever imports this gets that very module, and ``python -m smtpd`` runs it."""

if __name__ == "__main__":
    import runpy

    runpy.run_module("cyncore.smtpd", run_name="__main__", alter_sys=True)
else:
    import cyncore.smtpd
    from cyncore._install.shim import stand_in

    __getattr__ = stand_in(__name__, __file__, cyncore.smtpd)
