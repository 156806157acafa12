# A job: each dispatch of it is one run, whose task is the Spark driver in client mode.

variable "driver" {
  description = "The task driver: docker, exec or raw_exec."
  default     = "docker"
}

variable "image" {
  description = "The image's name in Docker."
  default     = ""
}

variable "rootfs" {
  description = "Where the image is unpacked on the hosts, for exec and raw_exec."
  default     = ""
}

variable "parts" {
  description = "The image's directories that hosts offer as volumes; for exec."
  type        = list(string)
  default     = []
}

variable "environment" {
  description = "The image's environment, which only Docker knows by itself."
  type        = map(string)
  default     = {}
}

variable "site" {
  description = "The site that it runs in, a Nomad datacenter; empty for a cluster without sites."
  default     = ""
}

variable "conf" {
  description = "Spark configuration of the cluster's servers, as JSON."
  default     = "{}"
}

variable "job" {
  description = "The job's name in Nomad."
}

variable "definition" {
  description = "The job's definition, as base64 of JSON; without one, each dispatch brings its own."
  default     = ""
}

variable "namespace" {
  description = "Nomad's namespace."
  default     = "default"
}

variable "driver_memory_mb" {
  description = "MiB of the driver's Java heap."
  type        = number
  default     = 1024
}

variable "replication" {
  description = "How many copies HDFS keeps of what the run writes."
  default     = "1"
}

variable "least_copies" {
  description = "How many copies HDFS keeps at least of what is staged; workers may go."
  default     = "1"
}

variable "spark_port" {
  description = "Where the ports of driver and executors begin; 0 for any."
  type        = number
  default     = 0
}

variable "infrastructure_retries" {
  description = "How often a killed driver is started again."
  type        = number
  default     = 3
}

locals {
  # exec knows users of the host only: start as nobody without capabilities, then change over.
  become = [
    "--reuid=185", "--regid=185", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
    "--no-new-privs", "--", "/opt/sparknomad/bin/tini", "-g", "--",
  ]
  enter  = ["${var.rootfs}/opt/sparknomad/enter", var.rootfs, "185", "185"]
  suffix = var.site == "" ? "" : "-${var.site}"
  server = ["/usr/bin/env", "python3", "/opt/sparknomad/task.py"]
}

job "job" {
  id   = var.job
  name = var.job
  type = "batch"

  datacenters = [var.site == "" ? "*" : var.site]

  namespace = var.namespace

  parameterized {
    payload       = "required"
    meta_required = ["run"]
    meta_optional = ["queue_timeout", "credentials", "executors", "site"]
  }

  group "run" {
    dynamic "volume" {
      for_each = var.parts
      labels   = ["image-${volume.value}"]
      content {
        type      = "host"
        source    = "image-${volume.value}"
        read_only = true
      }
    }

    network {
      port "ui" {}
    }

    # What ends a program by itself is told by its outcome; Nomad retries what was killed.
    restart {
      attempts = var.infrastructure_retries
      interval = "24h"
      delay    = "0s"
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    # Nobody knows what a program has done on a host that is lost: it does not begin elsewhere.
    disconnect {
      lost_after = "8760h"
      replace    = false
    }

    task "driver" {
      driver = var.driver
      user   = var.driver == "docker" ? "185:185" : ""

      dynamic "volume_mount" {
        for_each = var.parts
        content {
          volume      = "image-${volume_mount.value}"
          destination = "/${volume_mount.value}"
          read_only   = true
        }
      }

      dynamic "config" {
        for_each = var.driver == "docker" ? [var.image] : []
        content {
          image           = config.value
          network_mode    = "host"
          readonly_rootfs = true
          cap_drop        = ["all"]
          security_opt    = ["no-new-privileges"]
          volumes         = ["tmp:/tmp"]
          command         = local.server[0]
          args            = concat(slice(local.server, 1, 3), ["run"])
        }
      }

      dynamic "config" {
        for_each = var.driver == "exec" ? ["/usr/bin/setpriv"] : []
        content {
          command  = config.value
          cap_drop = ["all"]
          cap_add  = ["setuid", "setgid", "setpcap"]
          args     = concat(local.become, local.server, ["run"])
        }
      }

      dynamic "config" {
        for_each = var.driver == "raw_exec" ? ["/bin/sh"] : []
        content {
          command = config.value
          args    = concat(local.enter, local.server, ["run"])
        }
      }

      dispatch_payload {
        file = "run.json"
      }

      env = merge(var.environment, {
        SPARKNOMAD_HOST        = "${NOMAD_HOST_IP_ui}"
        SPARKNOMAD_REPLICATION = var.replication
        SPARKNOMAD_LEAST_COPIES = var.least_copies
        SPARKNOMAD_PORT        = var.spark_port
        SPARKNOMAD_NOMAD       = "${attr.unique.advertise.address}"
      })

      template {
        destination = "secrets/spark"
        data        = "{{ with nomadVar \"nomad/jobs\" }}{{ .spark_secret }}{{ end }}"
        uid         = 185
        gid         = 185
        perms       = "0400"
        change_mode = "noop"
      }

      # The credentials of the storages that this run names, if it names any.
      template {
        destination = "secrets/storage.json"
        data        = <<-EOT
          {{ with env "NOMAD_META_credentials" }}{{ with nomadVar . }}{{ .storage }}{{ end }}{{ end }}
        EOT
        uid         = 185
        gid         = 185
        perms       = "0400"
        change_mode = "noop"
      }

      # With it the driver removes these credentials when it has ended.
      identity {
        file = true
      }

      template {
        destination = "local/definition.json"
        data        = "{{ base64Decode \"${var.definition}\" }}"
        change_mode = "noop"
      }

      template {
        destination = "local/services.json"
        data        = <<-EOT
          {"master": "{{ with nomadService "spark-master${local.suffix}" }}{{ with index . 0 }}{{ .Address }}:{{ .Port }}{{ end }}{{ end }}",
           "master_ui": "{{ with nomadService "spark-master-ui${local.suffix}" }}{{ with index . 0 }}{{ .Address }}:{{ .Port }}{{ end }}{{ end }}",
           "hdfs": "{{ with nomadService "hdfs${local.suffix}" }}{{ with index . 0 }}{{ .Address }}:{{ .Port }}{{ end }}{{ end }}",
           "hdfs_http": "{{ with nomadService "hdfs-http${local.suffix}" }}{{ with index . 0 }}{{ .Address }}:{{ .Port }}{{ end }}{{ end }}"}
        EOT
        change_mode = "noop"
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "30s"

      resources {
        cpu    = 100
        memory = floor(var.driver_memory_mb * 1.1) + 640
      }
    }
  }
}
