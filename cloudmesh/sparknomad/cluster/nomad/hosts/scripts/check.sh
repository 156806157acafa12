# Checks an uploaded file. Reads: target, digest.
set -eu
if [ "$(sha256sum "$target.part" | cut -d' ' -f1)" != "$digest" ]; then
  rm -f "$target.part"
  echo "$target did not arrive as it was sent" >&2
  exit 5
fi
mv -f "$target.part" "$target"
