// What a network interface is at the moment (netdevice(7), ethtool's channels), and a socket that says when it changes
// (rtnetlink(7)).
// Every function returns a value >= 0, or -errno.
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t index;
    uint32_t mtu;
    uint8_t address[6];
    bool is_up;                     // by will of whoever administers it (IFF_UP)
    bool is_running;                // and by its carrier too (IFF_RUNNING)
    /// 0 where the driver does not say.
    uint32_t receive_queues, transmit_queues;
} martlet_interface;

/// Looks in the namespace of the socket of ``martlet_interface_watch``, or in the calling thread's if that is negative.
int martlet_interface_look(int watch, const char *name, martlet_interface *out);

/// What tells the calling thread's network namespace from others, or 0.
uint64_t martlet_network_namespace(void);

/// A non-blocking socket that hears of changes to interfaces of this network namespace.
int martlet_interface_watch(void);

enum { MARTLET_INTERFACE_UNCHANGED = 0, MARTLET_INTERFACE_CHANGED = 1, MARTLET_INTERFACE_REMOVED = 2 };

/// Reads what the socket has heard and tells what of it concerns the interface `index`. Never blocks.
int martlet_interface_changes(int watch, uint32_t index);
