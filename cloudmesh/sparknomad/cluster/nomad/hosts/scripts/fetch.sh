# Gets a file of a known SHA-256, with what this host has. Reads: url, target, digest.
set -eu
export LC_ALL=C
mkdir -p "$(dirname "$target")"
part="$target.part"
if command -v curl >/dev/null; then
  curl --silent --show-error --fail --noproxy '*' --retry 3 --output "$part" "$url"
elif command -v wget >/dev/null; then
  wget -q -Y off -O "$part" "$url" 2>/dev/null || env -u http_proxy wget -q -O "$part" "$url"
elif command -v python3 >/dev/null; then
  python3 -c 'import shutil, sys, urllib.request as u
o = u.build_opener(u.ProxyHandler({}))
shutil.copyfileobj(o.open(sys.argv[1], timeout=60), open(sys.argv[2], "wb"))' "$url" "$part"
elif command -v bash >/dev/null; then
  rest=${url#http://}
  bash -c 'set -e
exec 3<>"/dev/tcp/$1/$2"
printf "GET /%s HTTP/1.0\r\n\r\n" "$3" >&3
while IFS= read -r line <&3; do [ "$line" = "$(printf "\r")" ] && break; done
cat <&3 >"$4"' - "${rest%%:*}" "$(echo "${rest#*:}" | cut -d/ -f1)" "${rest#*/}" "$part"
else
  echo "none of curl, wget, python3 and bash is here" >&2
  exit 4
fi
if [ "$(sha256sum "$part" | cut -d' ' -f1)" != "$digest" ]; then
  rm -f "$part"
  echo "what came from $url is not what was sent" >&2
  exit 5
fi
mv -f "$part" "$target"
