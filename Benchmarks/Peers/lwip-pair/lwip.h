/*
 * The parts of Debian's liblwip that the pair calls, found when it starts: so that the package builds where the library
 * is not installed. Needs its headers (liblwip-dev) when it is built.
 *
 * Debian builds lwIP with an operating system layer, whose raw API belongs to one thread. No tcpip thread is started here:
 * the program's only thread is that one, and calls lwip_init itself.
 */
#ifndef LWIP_PAIR_LWIP_H
#define LWIP_PAIR_LWIP_H

#include <lwip/init.h>
#include <lwip/ip4.h>
#include <lwip/netif.h>
#include <lwip/pbuf.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>
#include <lwip/timeouts.h>

#define LWIP_FUNCTIONS(X) \
    X(lwip_init) X(ip4_input) X(netif_add) X(netif_set_link_up) X(netif_set_up) X(pbuf_alloc) X(pbuf_copy) X(pbuf_free) \
    X(sys_check_timeouts) X(tcp_abort) X(tcp_accept) X(tcp_arg) X(tcp_bind) X(tcp_bind_netif) X(tcp_close) \
    X(tcp_connect) X(tcp_err) X(tcp_listen_with_backlog) X(tcp_new) X(tcp_output) X(tcp_recv) X(tcp_recved) X(tcp_sent) \
    X(tcp_write)

struct lwip {
#define LWIP_MEMBER(name) __typeof__(&name) name;
    LWIP_FUNCTIONS(LWIP_MEMBER)
#undef LWIP_MEMBER
    struct tcp_pcb **tcp_tw_pcbs;
};

extern struct lwip lwip;

/* Finds the library, or prints why not and exits with status 69. */
void lwip_load(void);

#endif
