// CMartlet: the kernel's ABI for Martlet, one header an interface. Constants and struct layouts stay in C.
#pragma once

#include "martlet_arena.h"
#include "martlet_batch.h"
#include "martlet_bpf.h"
#include "martlet_epoll.h"
#include "martlet_file.h"
#include "martlet_interface.h"
#include "martlet_job.h"
#include "martlet_packet.h"
#include "martlet_poll.h"
#include "martlet_signal.h"
#include "martlet_socket.h"
#include "martlet_thread.h"
#include "martlet_tun.h"
#include "martlet_uring.h"
#include "martlet_world.h"
#include "martlet_xdp.h"
