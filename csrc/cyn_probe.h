/* SPDX-License-Identifier: MIT
 *
 * Probes for tracers: bpftrace, perf, SystemTap and gdb. A build with CYN_USDT has them, by the header of SystemTap
 * (systemtap-sdt-dev). Each is then one nop, and a note in the module that tells a tracer where it is and where its
 * arguments are. Other builds have nothing of them.
 */
#ifndef CYN_PROBE_H
#define CYN_PROBE_H

#ifdef CYN_USDT
#include <sys/sdt.h>
/* timeout: nanoseconds, 0 for a poll, -1 without end */
#define cyn_probe_wait(timeout) DTRACE_PROBE1(cyncore, wait, timeout)
/* count: events, or -errno */
#define cyn_probe_woken(count) DTRACE_PROBE1(cyncore, woken, count)
/* ready: a mask of CYN_READ and its like; kind: the name of the channel's class */
#define cyn_probe_event(fd, ready, kind) DTRACE_PROBE3(cyncore, event, fd, ready, kind)
/* handle: the address of the Handle or TimerHandle */
#define cyn_probe_call(handle) DTRACE_PROBE1(cyncore, call, handle)
#else
#define cyn_probe_wait(timeout) ((void)0)
#define cyn_probe_woken(count) ((void)0)
#define cyn_probe_event(fd, ready, kind) ((void)0)
#define cyn_probe_call(handle) ((void)0)
#endif

#endif
