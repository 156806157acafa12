# Whether the process whose number a file holds was begun with these words: the number may be
# another's by now, as after the host's start. Reads: the file, the words (its arguments).
runs() { [ -s "$1" ] && tr '\0' ' ' <"/proc/$(cat "$1")/cmdline" 2>/dev/null | grep -q -F "$2"; }
