# Make a user who may log in by one key and use sudo; the root user may log in by it as well if
# that is who is asked for. Repeatable.
set -eu
if ! id "$user" >/dev/null 2>&1; then
  useradd --create-home --shell /bin/sh "$user" 2>/dev/null || adduser -D -s /bin/sh "$user"
fi
home=$(awk -F: -v user="$user" '$1 == user { print $6 }' /etc/passwd)
mkdir -p "$home/.ssh"
chmod 700 "$home/.ssh"
touch "$home/.ssh/authorized_keys"
chmod 600 "$home/.ssh/authorized_keys"
grep -qxF "$key" "$home/.ssh/authorized_keys" || printf '%s\n' "$key" >>"$home/.ssh/authorized_keys"
if [ "$user" != root ]; then
  chown -R "$user:" "$home/.ssh"
  mkdir -p /etc/sudoers.d
  printf '%s ALL=(ALL) NOPASSWD:ALL\n' "$user" >/etc/sudoers.d/90-sparknomad
  chmod 440 /etc/sudoers.d/90-sparknomad
fi
