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
[ -e "$part/lib64" ] || mkdir "$part/lib64" # only some architectures have it
chmod 755 "$part"
mv "$part" "$target"
