# Unpacks an image; it gets its name when it is whole. Reads: directory, image, layers (files).
set -eu
target="$directory/images/$image"
[ -d "$target" ] && exit 0
part="$directory/images/.$image.$$"
rm -rf "$directory/images/.$image".*
mkdir -p "$part"
for layer in $layers; do
  tar -xzpf "$layer" -C "$part" --numeric-owner
done
mkdir -p "$part/dev"
chmod 755 "$part"
mv "$part" "$target"
