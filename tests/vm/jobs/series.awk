# Compares series with what they should be. First file: one expectation a line, VALUE NAME LABEL=VALUE... between tabs; a
# value of `?` asks instead. Second file: an exposition in the text format. The sum over all series with these labels
# counts; 0 also means that there is none. Fails when one comparison does.

FNR == 1 { file++ }

file == 1 {
    count++
    fields[count] = split($0, field, "\t")
    for (i = 1; i <= fields[count]; i++) want[count, i] = field[i]
    next
}

/^#/ { next }

{
    brace = index($0, "{")
    name = brace ? substr($0, 1, brace - 1) : $1
    labels = brace ? "," substr($0, brace + 1, index($0, "} ") - brace - 1) "," : ","
    for (n = 1; n <= count; n++) {
        if (want[n, 2] == name && has_labels(n)) {
            sum[n] += $NF
            found[n] = 1
        }
    }
}

END {
    for (n = 1; n <= count; n++) {
        if (want[n, 1] == "?") {
            if (found[n]) printf "%.9g\n", sum[n]
        } else {
            report(n)
        }
    }
    exit failed
}

function has_labels(n,    i, equals) {
    for (i = 3; i <= fields[n]; i++) {
        equals = index(want[n, i], "=")
        if (!index(labels, "," substr(want[n, i], 1, equals) "\"" substr(want[n, i], equals + 1) "\",")) return 0
    }
    return 1
}

function report(n,    text, i) {
    text = want[n, 2]
    for (i = 3; i <= fields[n]; i++) text = text " " want[n, i]
    if (sum[n] + 0 == want[n, 1] + 0) {
        printf "  ok    %s = %s\n", text, want[n, 1]
    } else {
        printf "  FAIL  %s: is %s, expected %s\n", text, found[n] ? sprintf("%.9g", sum[n]) : "absent", want[n, 1]
        failed = 1
    }
}
