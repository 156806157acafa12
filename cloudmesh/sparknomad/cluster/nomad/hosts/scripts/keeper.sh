# Keeps the agent running where no systemd does.
cd "$(dirname "$0")" || exit 1
echo $$ >keeper
while [ ! -f stop ]; do
  sh ./agent.sh
  [ -f stop ] || sleep 1
done
rm -f keeper
