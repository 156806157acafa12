package sparknomad;

import java.io.EOFException;
import java.io.IOException;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.FutureDataInputStreamBuilder;
import org.apache.hadoop.fs.Options;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.s3a.S3AFileStatus;
import org.apache.hadoop.hdfs.DistributedFileSystem;

/** Moves shards, several at a time, and tries again what a network can lose. */
final class Mover {
  private static final int BUFFER = 1024 * 1024;
  private static final int ATTEMPTS = 6;
  private static final long LONGEST_PAUSE_MS = 20_000;

  /** Buckets whose ETags were found to be no checksums. */
  private static final Set<String> SEALED = ConcurrentHashMap.newKeySet();

  private final Configuration conf;
  private final String host;
  private final AtomicLong progress;
  private final Map<String, String> seen = new ConcurrentHashMap<>();

  Mover(Configuration conf, String host, AtomicLong progress) {
    this.conf = conf;
    this.host = host;
    this.progress = progress;
  }

  static String hostName() {
    String told = System.getenv("SPARK_LOCAL_IP");
    try {
      return told != null && !told.isEmpty() ? told : InetAddress.getLocalHost().getHostAddress();
    } catch (IOException unknown) {
      return "localhost";
    }
  }

  /** Moves all; what failed says so. */
  List<Moved> moveAll(List<Shard> shards, int threads) throws InterruptedException {
    ExecutorService pool =
        Executors.newFixedThreadPool(Math.max(1, Math.min(threads, shards.size())));
    try {
      List<Future<Moved>> futures = new ArrayList<>();
      for (Shard shard : shards) {
        futures.add(pool.submit(() -> move(shard)));
      }
      List<Moved> moved = new ArrayList<>();
      for (Future<Moved> future : futures) {
        moved.add(future.get());
      }
      return moved;
    } catch (ExecutionException broken) {
      throw new IllegalStateException(broken.getCause());
    } finally {
      pool.shutdownNow();
    }
  }

  private Moved move(Shard shard) throws InterruptedException {
    Moved moved = new Moved();
    moved.source = shard.source;
    moved.target = shard.target;
    moved.host = host;
    moved.part = shard.part;
    moved.began = System.currentTimeMillis() / 1e3;
    long pause = 500;
    while (true) {
      moved.attempts++;
      try {
        moved.bytes = once(shard, moved);
        moved.failure = "";
        moved.reason = "";
        break;
      } catch (IOException | RuntimeException error) {
        moved.failure = Failures.kind(error);
        moved.reason = Failures.explain(error);
        if (!Failures.isTransient(error) || moved.attempts >= ATTEMPTS) {
          break;
        }
        Thread.sleep(pause + (long) (Math.random() * pause / 2));
        pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
      }
    }
    moved.ended = System.currentTimeMillis() / 1e3;
    return moved;
  }

  private long once(Shard shard, Moved moved) throws IOException {
    Path source = new Path(shard.source);
    Path target = new Path(shard.target);
    FileSystem from = source.getFileSystem(conf);
    FileSystem to = target.getFileSystem(conf);
    if (shard.part > 0) {
      try (FSDataInputStream stream = open(shard, from, source)) {
        return PartWriter.write(shard, stream, to, target, moved, progress);
      }
    }
    if (shard.resume && isThere(to, target, shard.length)) {
      progress.addAndGet(shard.length);
      return 0;
    }
    boolean renames = to.getScheme().equals("hdfs") || to.getScheme().equals("file");
    String unique = "." + target.getName().hashCode() + "." + UUID.randomUUID() + ".part";
    Path written = renames ? new Path(target.getParent(), unique) : target;
    long counted = 0;
    boolean whole = false;
    Proof proof = new Proof(shard);
    try {
      counted = write(shard, from, source, to, written, proof);
      if (renames) {
        publish(to, written, target, shard);
      }
      if (shard.verify) {
        moved.proven = proof.verify(to, target);
      }
      whole = true;
      return counted;
    } finally {
      if (!whole) {
        progress.addAndGet(-counted);
        if (!to.getScheme().equals("gs") && !to.getScheme().equals("s3a")) {
          remove(to, written);
        }
      }
    }
  }

  private static boolean isThere(FileSystem storage, Path path, long length) throws IOException {
    try {
      FileStatus status = storage.getFileStatus(path);
      return status.isFile() && status.getLen() == length;
    } catch (java.io.FileNotFoundException missing) {
      return false;
    }
  }

  private static void publish(FileSystem storage, Path from, Path to, Shard shard)
      throws IOException {
    if (storage.rename(from, to)) {
      return;
    }
    // What has its name is the same only where it is known by its source's version.
    if (shard.resume && isThere(storage, to, shard.length)) {
      storage.delete(from, false);
      return;
    }
    if (storage instanceof DistributedFileSystem) {
      ((DistributedFileSystem) storage).rename(from, to, Options.Rename.OVERWRITE);
      return;
    }
    storage.delete(to, false);
    if (!storage.rename(from, to)) {
      throw new IOException("could not give " + from + " its name " + to);
    }
  }

  private static void remove(FileSystem storage, Path path) {
    try {
      storage.delete(path, false);
    } catch (IOException ignored) {
      // The directory of what is half-done goes as a whole in the end.
    }
  }

  /** Copies the bytes; an output that was not written to its end is never closed as if it was. */
  private long write(
      Shard shard, FileSystem from, Path source, FileSystem to, Path written, Proof proof)
      throws IOException {
    long done = 0;
    FSDataOutputStream sink = null;
    try (FSDataInputStream stream = open(shard, from, source)) {
      sink = to.create(written, true, BUFFER);
      byte[] buffer = new byte[(int) Math.max(1, Math.min(BUFFER, shard.length))];
      while (done < shard.length) {
        int wanted = (int) Math.min(buffer.length, shard.length - done);
        int count = stream.read(buffer, 0, wanted);
        if (count < 0) {
          throw ended(shard, from, source, done);
        }
        sink.write(buffer, 0, count);
        proof.update(buffer, count, done);
        done += count;
        progress.addAndGet(count);
      }
      if (shard.isWhole() && stream.read() >= 0) {
        throw new Failures.ChangedException(source + " has grown");
      }
      proof.end();
      check(shard, proof);
      GoogleChecksum.check(shard, from, source, proof);
      sink.close();
      sink = null;
      return done;
    } catch (IOException | RuntimeException error) {
      progress.addAndGet(-done);
      throw error;
    } finally {
      abandon(sink);
    }
  }

  private static IOException ended(Shard shard, FileSystem from, Path source, long done)
      throws IOException {
    if (from.getFileStatus(source).getLen() != shard.size) {
      return new Failures.ChangedException(source + " has another length than it had");
    }
    long at = shard.start + done;
    return new EOFException(source + " ended at byte " + at + " of " + shard.size);
  }

  /**
   * Compares what came with an ETag that looks like an MD5.
   *
   * <p>Where a store encrypts, its ETag is none: the same bytes twice are proof enough, and then
   * no more is asked of this storage's ETags.
   */
  private void check(Shard shard, Proof proof) throws IOException {
    String digest = proof.digest;
    if (digest.isEmpty() || !Proof.isMd5(shard.version)) {
      return;
    }
    if (digest.equals(Proof.plain(shard.version)) || SEALED.contains(bucket(shard.source))) {
      return;
    }
    if (digest.equals(seen.put(shard.source, digest))) {
      SEALED.add(bucket(shard.source));
      return;
    }
    throw new IOException(shard.source + " arrived damaged: its MD5 is not its ETag");
  }

  private static String bucket(String source) {
    java.net.URI place = new Path(source).toUri();
    return place.getScheme() + "://" + place.getAuthority();
  }

  /** Ends an output without making it visible, where the storage can. */
  private static void abandon(FSDataOutputStream sink) {
    if (sink == null) {
      return;
    }
    try {
      if (sink.hasCapability("fs.capability.outputstream.abortable")) {
        sink.abort();
        return;
      }
      if (!sink.getWrappedStream().getClass().getName().contains("google")) {
        sink.close(); // then it is seen, and removed; Google's is never seen unless it is closed
      }
    } catch (IOException | RuntimeException ignored) {
      // It failed already; that failure is the one to tell.
    }
  }

  private FSDataInputStream open(Shard shard, FileSystem from, Path source) throws IOException {
    boolean whole = shard.isWhole();
    String policy = whole ? "sequential" : "random";
    FutureDataInputStreamBuilder builder =
        from.openFile(source)
            .opt("fs.option.openfile.read.policy", whole ? "whole-file, sequential" : "random")
            .opt("fs.option.openfile.length", Long.toString(shard.size))
            .opt("fs.s3a.experimental.input.fadvise", policy);
    if (from.getScheme().equals("s3a") && !shard.version.isEmpty()) {
      // With the listing's ETag, S3A needs no question of its own, and notices another object.
      builder = builder.withFileStatus(new S3AFileStatus(
          shard.size, 0, source, from.getDefaultBlockSize(source), "", shard.version, null));
    }
    FSDataInputStream stream;
    try {
      stream = builder.build().get();
    } catch (ExecutionException error) {
      Throwable cause = error.getCause();
      throw cause instanceof IOException ? (IOException) cause : new IOException(cause);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw new IOException(interrupted);
    }
    if (!whole) {
      readAhead(stream, shard.length);
      stream.seek(shard.start);
    }
    return stream;
  }

  /** Lets a stream ask for the whole range at once. */
  private static void readAhead(FSDataInputStream stream, long length) throws IOException {
    try {
      stream.setReadahead(length);
    } catch (UnsupportedOperationException none) {
      // It reads on in pieces of its own.
    }
  }
}
