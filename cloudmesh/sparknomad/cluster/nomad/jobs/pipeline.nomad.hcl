# A pipeline: each dispatch of it runs the steps of one, and sends their runs. With a schedule,
# each launch does so.

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

variable "namespace" {
  description = "Nomad's namespace."
  default     = "default"
}

variable "schedule" {
  description = "The id of the schedule that launches it; empty for one that is dispatched."
  default     = ""
}

variable "plan" {
  description = "The plan of a schedule's launches, in the cluster's HDFS."
  default     = ""
}

variable "crontab" {
  description = "When it is launched, in five fields."
  default     = ""
}

variable "time_zone" {
  description = "Of these times."
  default     = "UTC"
}

variable "prohibit_overlap" {
  description = "Whether nothing is launched while the last launch still runs."
  type        = bool
  default     = true
}

variable "credentials" {
  description = "The paths of the Variables that launches of a schedule read, with blanks between."
  default     = ""
}

locals {
  # exec knows users of the host only: start as nobody without capabilities, then change over.
  become = [
    "--reuid=185", "--regid=185", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
    "--no-new-privs", "--", "/opt/sparknomad/bin/tini", "-g", "--",
  ]
  enter  = ["${var.rootfs}/opt/sparknomad/enter", var.rootfs, "185", "185"]
  suffix = var.site == "" ? "" : "-${var.site}"
  server = ["/usr/bin/env", "python3", "/opt/sparknomad/pipeline_run.py"]
}

job "pipeline" {
  id   = var.schedule == "" ? "pipeline${local.suffix}" : "schedule-${var.schedule}"
  name = "pipeline${local.suffix}"
  type = "batch"

  datacenters = [var.site == "" ? "*" : var.site]

  namespace = var.namespace

  meta {
    plan = var.plan

    scheduled_credentials = var.credentials
  }

  dynamic "parameterized" {
    for_each = var.schedule == "" ? ["pipeline"] : []
    content {
      payload       = "required"
      meta_required = [parameterized.value]
    }
  }

  dynamic "periodic" {
    for_each = var.schedule == "" ? [] : [var.crontab]
    content {
      crons            = [periodic.value]
      time_zone        = var.time_zone
      prohibit_overlap = var.prohibit_overlap
    }
  }

  group "pipeline" {
    dynamic "volume" {
      for_each = var.parts
      labels   = ["image-${volume.value}"]
      content {
        type      = "host"
        source    = "image-${volume.value}"
        read_only = true
      }
    }

    # It may be killed anywhere: what was sent is found again.
    restart {
      attempts = 10
      interval = "1h"
      delay    = "2s"
      mode     = "fail"
    }

    reschedule {
      attempts       = 20
      interval       = "24h"
      delay          = "5s"
      delay_function = "constant"
      unlimited      = false
    }

    task "pipeline" {
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
          args            = concat(slice(local.server, 1, 3), [])
        }
      }

      dynamic "config" {
        for_each = var.driver == "exec" ? ["/usr/bin/setpriv"] : []
        content {
          command  = config.value
          cap_drop = ["all"]
          cap_add  = ["setuid", "setgid", "setpcap"]
          args     = concat(local.become, local.server, [])
        }
      }

      dynamic "config" {
        for_each = var.driver == "raw_exec" ? ["/bin/sh"] : []
        content {
          command = config.value
          args    = concat(local.enter, local.server, [])
        }
      }

      dynamic "dispatch_payload" {
        for_each = var.schedule == "" ? ["run.json"] : []
        content {
          file = dispatch_payload.value
        }
      }

      env = merge(var.environment, {
        SPARKNOMAD_NOMAD = "${attr.unique.advertise.address}"
        SPARKNOMAD_HDFS  = "hdfs-http${local.suffix}"
      })

      # With it the runs are sent; a policy of its own says what it may.
      identity {
        file = true
      }

      template {
        destination = "local/services.json"
        data        = <<-EOT
          {"hdfs_http": "{{ with nomadService "hdfs-http${local.suffix}" }}{{ with index . 0 }}{{ .Address }}:{{ .Port }}{{ end }}{{ end }}"}
        EOT
        change_mode = "noop"
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "5s"

      resources {
        cpu    = 100
        memory = 192
      }
    }
  }
}
