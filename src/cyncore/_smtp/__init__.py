# SPDX-License-Identifier: MIT
"""What `smtpd` is made of."""
