/*
 * What the two ends do.
 */
#ifndef LWIP_PAIR_WORKLOADS_H
#define LWIP_PAIR_WORKLOADS_H

/* Connections or segments that ended otherwise than they should. */
extern unsigned long workload_errors;

/* Makes the server listen: for bulk data, or for short connections. */
void workload_prepare(int is_bulk);

/* Sends `count` bytes over one connection. Returns how many have been received. */
long run_bulk(long count);

/* Runs `count` short connections, `at_once` at a time. Returns how many have been answered and closed. */
long run_connections(long count, long at_once);

#endif
