# Turns a Prometheus text exposition into tables for people. POSIX awk, also mawk.

# Reads one series: its name, its labels into the array `label`, its value.
function parse(line,    rest, key, value, char) {
    split("", label)
    if (!match(line, /^[a-zA-Z_:][a-zA-Z0-9_:]*/)) return 0
    metric = substr(line, 1, RLENGTH)
    rest = substr(line, RLENGTH + 1)
    if (substr(rest, 1, 1) == "{") {
        rest = substr(rest, 2)
        while (match(rest, /^,?[a-zA-Z_][a-zA-Z0-9_]*="/)) {
            key = substr(rest, 1, RLENGTH - 2)
            sub(/^,/, "", key)
            rest = substr(rest, RLENGTH + 1)
            value = ""
            while ((char = substr(rest, 1, 1)) != "\"" && char != "") {
                if (char == "\\") {
                    rest = substr(rest, 2)
                    char = substr(rest, 1, 1) == "n" ? " " : substr(rest, 1, 1)
                }
                value = value char
                rest = substr(rest, 2)
            }
            rest = substr(rest, 2)
            label[key] = value
        }
        sub(/^,?}/, "", rest)
    }
    split(rest, fields, " ")
    number = fields[1] + 0
    return 1
}

function bytes(count) {
    if (count >= 1e9) return sprintf("%.1f GB", count / 1e9)
    if (count >= 1e6) return sprintf("%.1f MB", count / 1e6)
    if (count >= 1e3) return sprintf("%.1f kB", count / 1e3)
    return count " B"
}

# Sorted keys of `set` into `keys`; returns how many.
function sorted(set, keys,    key, count, at) {
    count = 0
    for (key in set) {
        for (at = ++count; at > 1 && keys[at - 1] > key; at--) keys[at] = keys[at - 1]
        keys[at] = key
    }
    return count
}

function add_listen(container, address) {
    if (listens[container] == "") listens[container] = address
    else if (split(listens[container], unused, " ") < 3) listens[container] = listens[container] " " address
    else more[container]++
}

function print_hooks(    keys, count, at) {
    count = sorted(hooks, keys)
    printf "\n%-24s %-12s %s\n", "HOOK", "VERDICT", "BY"
    for (at = 1; at <= count; at++) print hooks[keys[at]]
    if (troubled) print "(nodescope-sensor --check says why a hook is not ok)"
}

function print_containers(    keys, count, at, key, text) {
    count = sorted(containers, keys)
    printf "\n%-52s %10s  %s\n", "SERVICE OR CONTAINER", "MEMORY", "LISTENS"
    for (at = 1; at <= count; at++) {
        key = keys[at]
        text = listens[key] (more[key] ? " +" more[key] : "")
        printf "%-52s %10s  %s\n", key, (key in memory ? bytes(memory[key]) : "-"), text
    }
    if (count == 0) print "(none yet)"
}

function print_flows(    keys, count, at, key, part) {
    count = sorted(flows, keys)
    printf "\n%-52s %-28s %8s %6s %6s %10s %10s\n", "FROM", "TO", "CONNECTS", "FAILED", "ACTIVE", "SENT", "RECEIVED"
    for (at = 1; at <= count; at++) {
        key = keys[at]
        split(key, part, SUBSEP)
        printf "%-52s %-28s %8d %6d %6d %10s %10s\n", part[1], part[2], connects[key], failed[key], active[key], \
            bytes(sent[key] + 0), bytes(received[key] + 0)
    }
    if (count == 0) print "(no outbound TCP connection seen yet)"
}

/^#/ || /^$/ { next }
!parse($0) { next }

{ container = label["container_id"]; flow = container SUBSEP label["destination"] }
container != "" { containers[container] = 1 }
metric == "container_resources_memory_rss_bytes" { memory[container] = number }
metric == "container_net_tcp_listen_info" && number > 0 { add_listen(container, label["listen_addr"]) }
metric == "container_net_tcp_successful_connects_total" { flows[flow] = 1; connects[flow] += number }
metric == "container_net_tcp_failed_connects_total" { flows[flow] = 1; failed[flow] += number }
metric == "container_net_tcp_active_connections" { flows[flow] = 1; active[flow] += number }
metric == "container_net_tcp_bytes_sent_total" { sent[flow] += number }
metric == "container_net_tcp_bytes_received_total" { received[flow] += number }
metric == "nodescope_sensor_hook" && number > 0 {
    if (label["verdict"] != "ok") troubled = 1
    hooks[label["hook"]] = sprintf("%-24s %-12s %s", label["hook"], label["verdict"], label["rung"])
}

END {
    print_hooks()
    print_containers()
    print_flows()
    print ""
}
