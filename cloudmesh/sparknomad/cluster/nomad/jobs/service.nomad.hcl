# The REST service, for whoever may call it with a token; it calls its cluster with another one.

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

variable "namespace" {
  description = "Nomad's namespace, which only operators read."
}

variable "packages" {
  description = "The SHA-256 of the archive of what it imports, in the cluster's HDFS."
}

variable "hdfs" {
  description = "The service by which HDFS is found."
}

variable "port" {
  description = "Where it listens, on the host that runs it."
  type        = number
}

variable "tls" {
  description = "Whether it has a certificate; without one it is reached on loopback only."
  type        = bool
}

variable "mark" {
  description = "Differs where it is started with something else."
}

locals {
  # exec knows users of the host only: start as nobody without capabilities, then change over.
  become = [
    "--reuid=185", "--regid=185", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
    "--no-new-privs", "--", "/opt/sparknomad/bin/tini", "-g", "--",
  ]
  enter  = ["${var.rootfs}/opt/sparknomad/enter", var.rootfs, "185", "185"]
  server = ["/usr/bin/env", "python3", "/opt/sparknomad/service_run.py"]
}

job "service" {
  type      = "service"
  namespace = var.namespace

  meta {
    rootfs = var.rootfs
    mark   = var.mark
  }

  update {
    max_parallel     = 1
    health_check     = "checks"
    min_healthy_time = "1s"
  }

  group "service" {
    dynamic "volume" {
      for_each = var.parts
      labels   = ["image-${volume.value}"]
      content {
        type      = "host"
        source    = "image-${volume.value}"
        read_only = true
      }
    }

    # What it remembers goes with it from a host that is drained.
    ephemeral_disk {
      size    = 1000
      sticky  = true
      migrate = true
    }

    network {
      port "rest" {
        static = var.port
      }
    }

    service {
      name     = "service"
      provider = "nomad"
      port     = "rest"

      check {
        type     = "tcp"
        interval = "2s"
        timeout  = "2s"
      }
    }

    restart {
      attempts = 20
      interval = "10m"
      delay    = "2s"
      mode     = "delay"
    }

    task "service" {
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

      env = merge(var.environment, {
        SPARKNOMAD_NOMAD    = "${attr.unique.advertise.address}"
        SPARKNOMAD_HDFS     = var.hdfs
        SPARKNOMAD_PACKAGES = var.packages
        SPARKNOMAD_HOST     = "${NOMAD_HOST_IP_rest}"
        SPARKNOMAD_PORT     = var.port
      })

      template {
        destination = "secrets/setup.json"
        data        = "{{ with nomadVar \"nomad/jobs/service\" }}{{ .setup }}{{ end }}"
        uid         = 185
        gid         = 185
        perms       = "0400"
        change_mode = "noop"
      }

      # Read anew without a restart: a token that is revoked ends at once.
      template {
        destination   = "secrets/tokens.json"
        data          = "{{ with nomadVar \"nomad/jobs/service\" }}{{ .tokens }}{{ end }}"
        uid           = 185
        gid           = 185
        perms         = "0400"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        splay         = "0s"
      }

      dynamic "template" {
        for_each = var.tls ? ["cert", "key"] : []
        content {
          destination = "secrets/${template.value}.pem"
          data        = "{{ with nomadVar \"nomad/jobs/service\" }}{{ .${template.value} }}{{ end }}"
          uid         = 185
          gid         = 185
          perms       = "0400"
          change_mode = "noop"
        }
      }

      # By it the task finds the cluster's HDFS.
      identity {
        file = true
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "20s"

      resources {
        cpu    = 200
        memory = 512
      }
    }
  }
}
