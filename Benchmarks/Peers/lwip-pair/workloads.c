/*
 * What the two ends do; see workloads.h. The raw API calls back when something has come.
 */
#if __has_include(<lwip/tcp.h>)

#include "workloads.h"

#include "PeerSupport.h"
#include "lwip.h"
#include "wire.h"

#include <errno.h>

#define PORT 7
#define MESSAGE 64
/* Rounds without a packet before the run is given up: lwIP's own timers run in real time. */
#define IDLE_ROUNDS 100000000L

unsigned long workload_errors;

static char bytes[65536];
static long received, done, opened;

static void failed(void *argument, err_t error) {
    (void)argument;
    (void)error;
    workload_errors++;
}

/* Packets, and now and then timers. Returns 0 when nothing has moved for too long. */
static int turn(void) {
    static long rounds, idle;
    if (++rounds % 64 == 0) {
        lwip.sys_check_timeouts();
    }
    idle = wire_deliver() > 0 ? 0 : idle + 1;
    return idle < IDLE_ROUNDS;
}

static struct tcp_pcb *open_connection(tcp_connected_fn connected) {
    struct tcp_pcb *pcb = lwip.tcp_new();
    if (pcb == NULL) {
        return NULL;
    }
    /* Both interfaces are this program's, so a route to the other would lead back in. */
    lwip.tcp_bind_netif(pcb, &client_netif);
    lwip.tcp_bind(pcb, &client_address, 0);
    lwip.tcp_err(pcb, failed);
    tcp_nagle_disable(pcb);
    if (lwip.tcp_connect(pcb, &server_address, PORT, connected) != ERR_OK) {
        lwip.tcp_abort(pcb);
        return NULL;
    }
    return pcb;
}

/* A connection closed from its own callback, where aborting has to be told. */
static err_t close_connection(struct tcp_pcb *pcb) {
    lwip.tcp_err(pcb, NULL);
    lwip.tcp_recv(pcb, NULL);
    if (lwip.tcp_close(pcb) == ERR_OK) {
        return ERR_OK;
    }
    workload_errors++;
    lwip.tcp_abort(pcb);
    return ERR_ABRT;
}

/* Bulk */

static err_t bulk_arrived(void *argument, struct tcp_pcb *pcb, struct pbuf *packet, err_t error) {
    (void)argument;
    (void)error;
    if (packet == NULL) {
        return close_connection(pcb);
    }
    received += packet->tot_len;
    lwip.tcp_recved(pcb, packet->tot_len);
    lwip.pbuf_free(packet);
    return ERR_OK;
}

static err_t bulk_accepted(void *argument, struct tcp_pcb *pcb, err_t error) {
    (void)argument;
    if (error != ERR_OK || pcb == NULL) {
        return ERR_VAL;
    }
    lwip.tcp_recv(pcb, bulk_arrived);
    return ERR_OK;
}

static err_t bulk_connected(void *argument, struct tcp_pcb *pcb, err_t error) {
    (void)argument;
    (void)pcb;
    opened++;
    return error;
}

static void bulk_send(struct tcp_pcb *pcb) {
    while (tcp_sndbuf(pcb) > 0) {
        u16_t count = (u16_t)LWIP_MIN(tcp_sndbuf(pcb), TCP_MSS);
        /* Whole segments, unless there is no more room: a short one is a segment of its own. */
        if (count < TCP_MSS && pcb->unsent != NULL) {
            break;
        }
        if (lwip.tcp_write(pcb, bytes, count, TCP_WRITE_FLAG_COPY) != ERR_OK) {
            break;
        }
    }
    lwip.tcp_output(pcb);
}

long run_bulk(long count) {
    struct tcp_pcb *pcb = open_connection(bulk_connected);
    if (pcb == NULL) {
        peer_fail("tcp_connect", ENOMEM);
    }
    while (opened == 0 && turn()) {
    }
    while (received < count && workload_errors == 0) {
        bulk_send(pcb);
        if (!turn()) {
            break;
        }
    }
    return received;
}

/* Short connections */

static err_t request_arrived(void *argument, struct tcp_pcb *pcb, struct pbuf *packet, err_t error) {
    (void)argument;
    (void)error;
    if (packet == NULL) {
        return close_connection(pcb);
    }
    lwip.tcp_recved(pcb, packet->tot_len);
    lwip.pbuf_free(packet);
    if (lwip.tcp_write(pcb, bytes, MESSAGE, TCP_WRITE_FLAG_COPY) != ERR_OK) {
        workload_errors++;
    }
    return ERR_OK;
}

static err_t request_accepted(void *argument, struct tcp_pcb *pcb, err_t error) {
    (void)argument;
    if (error != ERR_OK || pcb == NULL) {
        return ERR_VAL;
    }
    tcp_nagle_disable(pcb);
    lwip.tcp_recv(pcb, request_arrived);
    lwip.tcp_err(pcb, failed);
    return ERR_OK;
}

static err_t answer_arrived(void *argument, struct tcp_pcb *pcb, struct pbuf *packet, err_t error) {
    (void)argument;
    (void)error;
    if (packet == NULL) {
        workload_errors++;
        return close_connection(pcb);
    }
    lwip.tcp_recved(pcb, packet->tot_len);
    lwip.pbuf_free(packet);
    done++;
    opened--;
    return close_connection(pcb);
}

static err_t request_connected(void *argument, struct tcp_pcb *pcb, err_t error) {
    (void)argument;
    if (error != ERR_OK) {
        return error;
    }
    lwip.tcp_recv(pcb, answer_arrived);
    if (lwip.tcp_write(pcb, bytes, MESSAGE, TCP_WRITE_FLAG_COPY) != ERR_OK) {
        workload_errors++;
    }
    return ERR_OK;
}

long run_connections(long count, long at_once) {
    while (done < count && workload_errors == 0) {
        while (opened < at_once) {
            if (open_connection(request_connected) == NULL) {
                peer_fail("tcp_connect", ENOMEM);
            }
            opened++;
        }
        if (!turn()) {
            break;
        }
        /* lwIP looks through all connections in TIME-WAIT for each segment: these have sent their last ACK. */
        while (*lwip.tcp_tw_pcbs != NULL) {
            lwip.tcp_abort(*lwip.tcp_tw_pcbs);
        }
    }
    return done;
}

void workload_prepare(int is_bulk) {
    struct tcp_pcb *pcb = lwip.tcp_new();
    if (pcb == NULL || lwip.tcp_bind(pcb, &server_address, PORT) != ERR_OK) {
        peer_fail("tcp_bind", EADDRINUSE);
    }
    pcb = lwip.tcp_listen_with_backlog(pcb, 255);
    if (pcb == NULL) {
        peer_fail("tcp_listen", ENOMEM);
    }
    /* Only the part that a listener has is touched. */
    lwip.tcp_bind_netif(pcb, &server_netif);
    lwip.tcp_accept(pcb, is_bulk ? bulk_accepted : request_accepted);
}

#endif
