"""The manual of the command, as docopt reads it."""

from __future__ import annotations

__all__ = ["MANUAL", "PROGRAM"]

PROGRAM = "sparknomad"

MANUAL = """\
sparknomad: run Spark pipelines on a Nomad cluster that you deploy anywhere.

Usage:
  sparknomad setup [--dry-run] [options]
  sparknomad doctor [options]
  sparknomad check [--cluster=NAME] [--site=SITE] [options]
  sparknomad cluster deploy [NAME] [--spec=SPEC] [--provider=PROVIDER] [--workers=N] [--cores=N]
                            [--memory=SIZE] [--image=IMAGE] [--driver=DRIVER] [--staging=SIZE]
                            [--min-workers=N] [--accept-host-keys] [--timeout=DURATION]
                            [--dry-run] [options]
  sparknomad cluster list [options]
  sparknomad cluster status [NAME] [options]
  sparknomad cluster scale NAME N [--site=SITE] [--timeout=DURATION] [options]
  sparknomad cluster ui [NAME] [options]
  sparknomad cluster logs [NAME] [HOST] [options]
  sparknomad cluster diff [NAME] [--spec=SPEC] [--workers=N] [--cores=N] [--memory=SIZE]
                          [--image=IMAGE] [options]
  sparknomad cluster add-hosts NAME HOST... [--user=USER] [--port=PORT] [--key=FILE] [--jump=HOST]
                               [--host-key=KEY] [--role=ROLE] [--site=SITE] [--workers=N]
                               [--accept-host-keys] [--timeout=DURATION] [options]
  sparknomad cluster remove-hosts NAME HOST... [--force] [--timeout=DURATION] [options]
  sparknomad cluster drain NAME HOST [--undo] [--timeout=DURATION] [options]
  sparknomad cluster upgrade NAME [--image=IMAGE] [--timeout=DURATION] [options]
  sparknomad cluster ssh NAME HOST [COMMAND]... [options]
  sparknomad cluster destroy [NAME] [--force] [--timeout=DURATION] [options]
  sparknomad cluster token create [NAME] --role=ROLE [--namespace=NAMESPACE] [--label=TEXT]
                                  [--ttl=DURATION] [--bundle=PATH] [--passphrase-file=FILE]
                                  [options]
  sparknomad cluster token list [NAME] [options]
  sparknomad cluster token revoke NAME ACCESSOR [options]
  sparknomad cluster export (NAME PATH | PATH) [--history] [--passphrase-file=FILE] [options]
  sparknomad cluster import PATH [--name=NAME] [--passphrase-file=FILE] [options]
  sparknomad cluster forget NAME [--force] [options]
  sparknomad cluster rotate [NAME] [--certificates] [--gossip] [--timeout=DURATION] [--dry-run]
                            [options]
  sparknomad image build [NAME] [--spec=SPEC] [--spark=VERSION] [--base=BASE]
                         [--requirements=REQS] [--variant=VARIANT] [--dry-run] [options]
  sparknomad image list [options]
  sparknomad image inspect IMAGE [options]
  sparknomad image check IMAGE [options]
  sparknomad image save IMAGE PATH [options]
  sparknomad image remove IMAGE [options]
  sparknomad job define SPEC [options]
  sparknomad job list [options]
  sparknomad job show JOB [options]
  sparknomad job remove JOB [options]
  sparknomad job run JOB [--param=ASSIGNMENT]... [--cluster=NAME] [--site=SITE] [--detach]
                         [--timeout=DURATION] [--queue-timeout=DURATION] [--stage=MODE]...
                         [--check] [--dry-run] [options]
  sparknomad job runs [--job=JOB] [--state=STATE] [--limit=N] [--after=RUN] [options]
  sparknomad job status RUN [options]
  sparknomad job logs RUN [--follow] [options]
  sparknomad job wait RUN [--timeout=DURATION] [options]
  sparknomad job cancel RUN [options]
  sparknomad job report RUN [options]
  sparknomad pipeline define SPEC [options]
  sparknomad pipeline list [options]
  sparknomad pipeline show PIPELINE [options]
  sparknomad pipeline remove PIPELINE [options]
  sparknomad pipeline run PIPELINE [--param=ASSIGNMENT]... [--cluster=NAME] [--site=SITE]
                          [--reuse] [--detach] [options]
  sparknomad pipeline runs [--pipeline=NAME] [--limit=N] [--after=RUN] [options]
  sparknomad pipeline status RUN [options]
  sparknomad pipeline wait RUN [--timeout=DURATION] [options]
  sparknomad pipeline logs RUN [options]
  sparknomad pipeline cancel RUN [options]
  sparknomad pipeline resume RUN [--detach] [options]
  sparknomad pipeline graph PIPELINE [--form=FORM] [options]
  sparknomad pipeline report RUN [options]
  sparknomad pipeline schedule PIPELINE --schedule=CRONTAB [--time-zone=ZONE] [--overlap=POLICY]
                               [--param=ASSIGNMENT]... [--cluster=NAME] [--site=SITE] [options]
  sparknomad pipeline schedules [options]
  sparknomad pipeline unschedule SCHEDULE [options]
  sparknomad storage profile add NAME --url=URL [--kind=KIND] [--endpoint=URL] [--region=REGION]
                                 [--ca=FILE] [--site=SITE] [--credentials=SOURCE]
                                 [--set=ASSIGNMENT]... [--secrets-in-plain-text] [--replace]
                                 [options]
  sparknomad storage profile list [options]
  sparknomad storage profile show NAME [options]
  sparknomad storage profile remove NAME [options]
  sparknomad storage list URL [--recursive] [options]
  sparknomad storage info URL [options]
  sparknomad storage put PATH URL [options]
  sparknomad storage get URL PATH [options]
  sparknomad storage copy URL URL [--cluster=NAME] [--site=SITE] [options]
  sparknomad storage remove URL [options]
  sparknomad storage usage URL [options]
  sparknomad storage check [SUBJECT]... [--cluster=NAME] [--site=SITE] [options]
  sparknomad storage stage URL... [--cluster=NAME] [--site=SITE] [--pin] [--ttl=DURATION]
                           [--detach] [options]
  sparknomad storage staged [--cluster=NAME] [--site=SITE] [options]
  sparknomad storage unstage URL [--cluster=NAME] [--site=SITE] [--force] [options]
  sparknomad storage evict [--cluster=NAME] [--site=SITE] [options]
  sparknomad compute list [COMPUTE] [--all] [options]
  sparknomad compute create GROUP [--compute=NAME] [--count=N] [--size=SIZE] [--image=IMAGE]
                            [--timeout=DURATION] [--dry-run] [options]
  sparknomad compute destroy GROUP [--force] [--timeout=DURATION] [options]
  sparknomad compute offers [COMPUTE] [--cores=N] [--memory=SIZE] [options]
  sparknomad compute orphans [--destroy] [--all] [--timeout=DURATION] [options]
  sparknomad service start [--cluster=NAME] [--host=HOST] [--port=PORT] [--tls-cert=FILE]
                           [--tls-key=FILE] [--allow-local] [--storage=PROFILE]...
                           [--timeout=DURATION] [options]
  sparknomad service stop [--cluster=NAME] [options]
  sparknomad service status [--cluster=NAME] [options]
  sparknomad service token create NAME --role=ROLE [--ttl=DURATION] [--cluster=NAME] [options]
  sparknomad service token list [--cluster=NAME] [options]
  sparknomad service token revoke NAME [--cluster=NAME] [options]
  sparknomad service spec [options]
  sparknomad completion SHELL
  sparknomad --version
  sparknomad -h | --help

Set up:
  setup             Find or install Nomad, Java and Spark; say what was done and where it lies.
  doctor            Show what is here, what is missing and what to do about it.
  check             Try every worker of a cluster, and every storage profile from each of them.
  completion SHELL  Print the completion script for bash or zsh.

Clusters (NAME is `default` unless given):
  deploy            Make a cluster, or complete, repair or change the one of that name.
  list, status      Show clusters; show one with its parts, asked of what runs it.
  scale             Change the number of workers.
  ui                Print the address of every web page.
  logs              Print the last output of every part, or of all that runs on one host.
  diff              Show what a deploy would change; exit code 1 if anything, 0 if nothing.
  add-hosts         Let more hosts be part of a cluster; rack[01-16] stands for sixteen.
  remove-hosts      Move what runs there, remove all that is there, and forget the hosts.
  drain             Move what runs on a host, and place nothing there until --undo.
  upgrade           Bring hosts to a newer image and Nomad, a few at a time.
  ssh               Log in to a host, or run a command there; after `--`, also its options.
  destroy           End a cluster, its runs and its data, and prove that nothing is left.
  token create      Make a token for somebody who may only run jobs, or only look.
  token list        Show all tokens, without their secrets.
  token revoke      End a token at once.
  export, import    Write an encrypted bundle with which another machine takes over; read one.
  forget            Remove what this machine has of a cluster, which goes on.
  rotate            Replace certificates and the key of gossip while runs go on.

Images (the standalone Spark runtime):
  build             Build an image, check it, and load it into Docker where that runs.
  list, inspect     Show images; show one with its versions.
  check             Start an image, run a small job in it, load every storage connector.
  save              Write an image as an archive that `docker load` reads.
  remove            Remove an image.

Jobs (JOB is a defined job's name, a job file, or a program .py or .jar):
  define, list      Remember a job file under its name; show what is defined.
  show, remove      Show a job; forget it.
  run               Run a job and show its output; exit code 3 if the run failed.
  runs, status      Show the history of runs; show one.
  logs              Print a run's output: standard output and standard error apart.
  wait, cancel      Wait until a run has ended; end it.
  report            Show what a run did: time, bytes, records, tasks.

Pipelines (jobs in order; PIPELINE is a defined one's name or a file, for `graph` also a run):
  define, list      Remember a pipeline's file under its name; show what is defined.
  show, remove      Show a pipeline; forget it.
  run               Run a pipeline in the cluster, and show its steps; exit code 3 if it failed.
  runs, status      Show the history of its runs; show one with its steps.
  wait, cancel      Wait until a run has ended; end it and the runs of its steps.
  resume            Run again what failed, and what depends on it.
  logs, report      Show what was done when; show what each step took, read and wrote.
  graph             Draw it, with the states of a run's steps.
  schedule          Let the cluster run it again and again; print the schedule's id.
  schedules         Show all with their next and last launches.
  unschedule        End a schedule; what it has launched goes on.

Storage (URL is PROFILE:path, a plain URL such as s3://bucket/path, or a path of this machine):
  profile add       Name a place in a cloud, and say where its credentials come from.
  profile list      Show the names; show one (without its secrets); forget one.
  list, info        Show what lies in a directory or fits a pattern; show one object.
  put, get, copy    Copy to a storage, from it, between two; proven, and going on where it ended.
                    Between two clouds the cluster copies, if one is deployed.
  remove, usage     Remove objects; count them and their bytes.
  check             Try profiles: credentials, list, write, read, remove; with a hint per failure;
                    with --cluster from every worker of it.
  stage, staged     Bring inputs into a cluster before a run needs them; show what is there.
  unstage, evict    Remove what was staged of a URL; remove all that is neither pinned nor in use.

Compute (COMPUTE is one in cloudmesh.yaml, where machines come from; GROUP is a name of yours):
  list              Show the machines that there are, as their clouds say.
  create            Create a group of machines in a cloud, or complete it.
  destroy           End a group's machines, and prove that the cloud lists none of them.
  offers            Show sizes of machines with their prices, the cheapest first.
  orphans           Find machines that sparknomad created and no group owns; end them.

Service (the same over HTTP, by the contract that `spec` prints):
  start             Serve until it is ended; on this machine alone unless TLS is given. In a
                    cluster (--cluster=NAME) as a Nomad job of it; this machine may be shut.
  stop, status      End the service of this machine or of a cluster; tell where it answers.
  token             Make, list and revoke tokens: a reader's, a submitter's, an operator's.
  spec              Print the contract, as OpenAPI 3.

Options:
  --output=FORMAT       For every command: table, json or yaml [default: table].
  --quiet               For every command: print no progress.
  --spec=SPEC           A YAML file with a cluster's or an image's fields.
  --provider=PROVIDER   What runs the cluster: nomad (default) or local.
  --workers=N           Number of Spark workers (default 2).
  --cores=N             Cores of each worker (default 1); for `compute offers`: at least so many.
  --memory=SIZE         Memory that each worker offers, such as 2g (default 2g); for `compute
                        offers`: at least so much.
  --image=IMAGE         Name of the image to run (default: default); for `compute create`: what
                        machines boot from, as the cloud names it.
  --driver=DRIVER       Nomad's task driver: auto, docker, exec or raw_exec (default auto).
  --min-workers=N       Go on without hosts that fail if so many workers are left.
  --accept-host-keys    Trust the SSH keys of hosts that were never met before.
  --staging=SIZE        Room for staged inputs, such as 100g (default: half of the disks).
  --role=ROLE           What a token may: operator, submitter (run jobs) or reader; what runs on
                        added hosts: any (default), server or worker.
  --namespace=NAMESPACE
                        Nomad's namespace of a token's runs, such as a team (default: runs).
  --label=TEXT          What a token is known by.
  --bundle=PATH         Write a file that the token's user imports.
  --passphrase-file=FILE
                        A file whose first line is the bundle's passphrase; else it is asked for.
  --history             Also the history of the cluster's runs.
  --name=NAME           The cluster's name on this machine (default: as it was).
  --certificates        Only certificates and their authority.
  --gossip              Only the key of Nomad's servers among each other.
  --timeout=DURATION    Give up after, such as 90s or 15m; for `job run`: end the run after.
  --queue-timeout=DURATION
                        Let the run fail when it found no room for so long (default 1h).
  --stage=MODE          Bring inputs into the cluster first: auto, always or never; NAME=MODE for
                        one parameter. Repeatable. Without it, what the job says.
  --check               Try the storages of the run from every worker first.
  --pin                 Keep it in the cluster until it is unstaged.
  --ttl=DURATION        Let what is staged go so long after its last use, such as 7d; let a token
                        end so long after it was made.
  --force               Also while runs are not finished, or a cluster has the machines;
                        `remove-hosts`: also hosts that are off, and data of which there is no
                        other copy.
  --compute=NAME        The compute to create machines in; the group's own if it is there.
  --count=N             How many machines the group is to have (default 1).
  --size=SIZE           Of each machine, as the cloud names it; `compute offers` shows them.
  --all                 Also machines that were created from elsewhere.
  --destroy             End them.
  --undo                Let a drained host take work again.
  --user=USER           To log in as; user, port, key and jump are those of the cluster's last
                        host unless given.
  --port=PORT           Of the SSH servers.
  --key=FILE            With a private key for SSH.
  --jump=HOST           To log in by, as user@host:port.
  --host-key=KEY        The hosts' public key, as in known_hosts.
  --spark=VERSION       Spark line: 4.1 (default) or 3.5.
  --base=BASE           debian (default), or the name of a Docker image.
  --requirements=REQS   A file of Python requirements, as pip reads it.
  --variant=VARIANT     slim (default), or full with ML, GraphX, Hive, RocksDB, K8s and YARN.
  --param=ASSIGNMENT    NAME=VALUE; everything after the first = is the value. Repeatable.
  --cluster=NAME        Where to run; `default` if it is deployed, else `local`; for `service`:
                        the cluster that runs it (else this machine).
  --pipeline=NAME       Only runs of this pipeline.
  --schedule=CRONTAB    Minute, hour, day of the month, month, day of the week: '0 3 * * *'.
  --time-zone=ZONE      Of a schedule, such as Europe/Berlin (default UTC).
  --overlap=POLICY      When a pipeline is due while its last launch runs: skip (default) or allow.
  --host=HOST           The address that the service listens at (default 127.0.0.1).
  --tls-cert=FILE       The service's certificate; needed where others reach it.
  --tls-key=FILE        The key of that certificate.
  --storage=PROFILE     A storage profile that a cluster's service may use, with its credentials.
                        Repeatable.
  --allow-local         Let requests use the embedded cluster, whose programs run as this user.
  --reuse               Skip steps that have done the same to the same before.
  --form=FORM           Of a graph: mermaid (default) or svg.
  --site=SITE           Of the cluster (default: that of the largest input, or the next best);
                        the one that a profile's storage is near.
  --detach              Print the run's id and return at once.
  --job=JOB             Only runs of this job.
  --state=STATE         Only runs in this state: pending, staging, running, succeeded, failed,
                        cancelled or lost.
  --limit=N             At most so many runs; `all` for every one (default 50).
  --after=RUN           Only runs that come after this one in the list: its next page.
  --follow              Go on until the run has ended.
  --url=URL             What the profile's name stands for, such as s3://bucket/path/.
  --kind=KIND           s3, gcs, azure, swift, hdfs, file or http; found from the URL.
  --endpoint=URL        Of the service, where it is not the cloud's own.
  --region=REGION       Of the service.
  --ca=FILE             Certificates that the service's is checked against.
  --credentials=SOURCE  auto (default), environment, files, instance, file, keyring, prompt,
                        plain or none.
  --set=ASSIGNMENT      FIELD=VALUE: options.NAME, credentials.path, credentials.profile,
                        credentials.variables.NAME or credentials.values.NAME. Repeatable.
  --secrets-in-plain-text
                        Write the secret into cloudmesh.yaml, for whoever reads that file.
  --replace             Write a profile anew that is there already.
  --recursive           Also what lies deeper.
  --dry-run             Show what would be done; touch nothing.
  -h, --help            Show this.
  --version             Show the version.

Exit codes:
  0 done   1 failed   2 wrong usage   3 the run itself failed   4 not found   130 interrupted

Examples:
  cms sparknomad cluster deploy --workers=3 --memory=4g
  cms sparknomad image build --requirements=requirements.txt
  cms sparknomad job run examples/delays.yaml --param input=flights.csv
  cms sparknomad job run wordcount.py --param input=README.md --cluster=local
  cms sparknomad job runs --state=failed --output=json
  cms sparknomad storage profile add aws --url=s3://bucket/data/ --credentials=environment
  cms sparknomad compute create workers --compute=aws --count=4 --size=m7i.xlarge
  cms sparknomad job run delays --param input=aws:flights.csv --param output=azure:delays/
"""
