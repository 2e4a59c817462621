/*
 * Finds liblwip; see lwip.h.
 */
#if __has_include(<lwip/tcp.h>)

#include "lwip.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

struct lwip lwip;

static void *find(void *library, const char *name) {
    void *symbol = dlsym(library, name);
    if (symbol == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(69);
    }
    return symbol;
}

void lwip_load(void) {
    void *library = dlopen("liblwip.so.0", RTLD_NOW);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(69);
    }
#define LWIP_FIND(name) lwip.name = (__typeof__(&name))find(library, #name);
    LWIP_FUNCTIONS(LWIP_FIND)
#undef LWIP_FIND
    lwip.tcp_tw_pcbs = find(library, "tcp_tw_pcbs");
}

#endif
