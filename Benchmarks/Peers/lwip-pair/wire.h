/*
 * Two interfaces of bare IP packets and the wire between them: what one sends is copied, as a link would, and waits until
 * the other is told to take it in.
 */
#ifndef LWIP_PAIR_WIRE_H
#define LWIP_PAIR_WIRE_H

#include "lwip.h"

extern struct netif client_netif, server_netif;
extern ip_addr_t client_address, server_address;

/* Packets that the wire had no room for, or lwIP no memory. */
extern unsigned long wire_drops;

void wire_prepare(void);

/* Gives the server, then the client, what has been sent to it. Returns how many packets that were. */
int wire_deliver(void);

#endif
