// SIGTERM and SIGINT as a wake-up: the handler writes one word to an eventfd, which is all that signal-safety(7) allows it.
#pragma once

/// Installs a handler that adds 1 to `event_fd` when `signal_number` arrives. Returns 0 or -errno.
int martlet_signal_catch(int signal_number, int event_fd);
/// The last signal that was caught since this was last asked, or 0.
int martlet_signal_take_pending(void);
/// Puts back what was there before `martlet_signal_catch`.
void martlet_signal_release(int signal_number);
