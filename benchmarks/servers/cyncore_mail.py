"""Mail on cyncore."""

import cyncore.asyncore as asyncore
import cyncore.smtpd as smtpd
from benchmarks.servers.mail_smtpd import serve

serve(asyncore, smtpd)
