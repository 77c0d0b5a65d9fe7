"""Mail on the old smtpd: the standard library's until Python 3.11, a package since."""

import warnings

from benchmarks.servers.mail_smtpd import serve

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import asyncore
    import smtpd

serve(asyncore, smtpd)
