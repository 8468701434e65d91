// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * All programs in one object: they share maps, and the sensor loads each by itself, so that one a kernel refuses does
 * not stop the others.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#include "abi.h"
#include "maps.h"
#include "owner.h"
#include "socket.h"

#include "cilium.bpf.h"
#include "translations.bpf.h"
#include "flows.bpf.h"
#include "tcp.bpf.h"
#include "callbacks.bpf.h"
#include "packets.bpf.h"
#include "conntrack.bpf.h"
#include "process.bpf.h"
#include "cgroup.bpf.h"
#include "delays.bpf.h"
#include "existing.bpf.h"
#include "logs.bpf.h"
#include "executables.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
