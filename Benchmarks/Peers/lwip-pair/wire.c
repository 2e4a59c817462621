/*
 * The wire; see wire.h.
 */
#if __has_include(<lwip/tcp.h>)

#include "wire.h"

#define WIRE_SLOTS 4096

struct netif client_netif, server_netif;
ip_addr_t client_address = IPADDR4_INIT_BYTES(10, 0, 0, 1), server_address = IPADDR4_INIT_BYTES(10, 0, 0, 2);
unsigned long wire_drops;

struct queue {
    struct pbuf *packets[WIRE_SLOTS];
    unsigned head, tail;
};

static struct queue to_client, to_server;

static err_t output(struct netif *netif, struct pbuf *packet, const ip4_addr_t *next_hop) {
    struct queue *queue = netif == &client_netif ? &to_server : &to_client;
    struct pbuf *copy = NULL;
    (void)next_hop;
    if (queue->tail - queue->head < WIRE_SLOTS) {
        copy = lwip.pbuf_alloc(PBUF_RAW, packet->tot_len, PBUF_RAM);
    }
    if (copy == NULL) {
        wire_drops++;
        return ERR_OK;
    }
    lwip.pbuf_copy(copy, packet);
    queue->packets[queue->tail++ % WIRE_SLOTS] = copy;
    return ERR_OK;
}

static err_t start(struct netif *netif) {
    netif->output = output;
    netif->mtu = 1500;
    return ERR_OK;
}

static void add(struct netif *netif, const ip_addr_t *address) {
    ip4_addr_t mask, none = {0};
    IP4_ADDR(&mask, 255, 255, 255, 255);
    lwip.netif_add(netif, ip_2_ip4(address), &mask, &none, NULL, start, NULL);
    lwip.netif_set_up(netif);
    lwip.netif_set_link_up(netif);
}

void wire_prepare(void) {
    add(&client_netif, &client_address);
    add(&server_netif, &server_address);
}

static int deliver(struct queue *queue, struct netif *netif) {
    /* What is sent in answer waits for the next time. */
    unsigned tail = queue->tail;
    int count = (int)(tail - queue->head);
    while (queue->head != tail) {
        lwip.ip4_input(queue->packets[queue->head++ % WIRE_SLOTS], netif);
    }
    return count;
}

int wire_deliver(void) {
    int count = deliver(&to_server, &server_netif);
    return count + deliver(&to_client, &client_netif);
}

#endif
