# Puts Nomad into its place. Reads: source, directory, digest.
set -eu
gzip -dc "$source" >"$directory/.nomad.$$"
if [ "$(sha256sum "$directory/.nomad.$$" | cut -d' ' -f1)" != "$digest" ]; then
  rm -f "$directory/.nomad.$$"
  echo "the unpacked Nomad is not the one that was sent" >&2
  exit 5
fi
chmod 755 "$directory/.nomad.$$"
mv -f "$directory/.nomad.$$" "$directory/nomad"
