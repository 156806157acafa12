package sparknomad;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.BBPartHandle;
import org.apache.hadoop.fs.BBUploadHandle;
import org.apache.hadoop.fs.CommonPathCapabilities;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.MultipartUploader;
import org.apache.hadoop.fs.PartHandle;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.UploadHandle;
import org.apache.hadoop.util.ShutdownHookManager;

/** Objects whose parts several executors write; each is seen when all parts are put together. */
final class Uploads {
  /** One object. */
  public static final class Upload {
    public String target;

    /** What the storage calls it, in Base64; empty where the storage can't do it. */
    public String upload = "";

    public long size;
    public List<Part> parts = new ArrayList<>();

    /** Whether the storage's checksum has proven it. */
    public boolean proven;

    public String failure = "";
    public String reason = "";
  }

  /** A part that has been written. */
  public static final class Part {
    public int number;
    public String handle;

    /** Its MD5, in hexadecimal. */
    public String digest = "";
  }

  /** Hadoop's own hooks, which close the storages, come after this one. */
  private static final int HOOK_PRIORITY = 100;

  private final Configuration conf;
  private final Runnable stop;
  private final Set<Upload> open = ConcurrentHashMap.newKeySet();
  private boolean hooked;

  /**
   * Knows of no upload yet.
   *
   * @param stop ends whoever writes parts
   */
  Uploads(Configuration conf, Runnable stop) {
    this.conf = conf;
    this.stop = stop;
  }

  List<Upload> begin(Upload[] wanted) throws IOException {
    if (!hooked) {
      // What is stopped leaves nothing behind that is paid for, but never seen.
      ShutdownHookManager.get().addShutdownHook(this::abortAll, HOOK_PRIORITY);
      hooked = true;
    }
    for (Upload each : wanted) {
      Path target = new Path(each.target);
      FileSystem storage = target.getFileSystem(conf);
      if (isSupported(storage, target)) {
        try (MultipartUploader uploader = uploader(storage, target)) {
          UploadHandle handle = get(uploader.startUpload(target));
          each.upload = encode(handle.bytes());
        }
        open.add(each);
      }
    }
    return List.of(wanted);
  }

  /** A cluster's own storages have better ways. */
  private static boolean isSupported(FileSystem storage, Path target) throws IOException {
    return storage.getScheme().equals("s3a")
        && storage.hasPathCapability(target, CommonPathCapabilities.FS_MULTIPART_UPLOADER);
  }

  List<Upload> complete(Upload[] wanted) throws IOException {
    for (Upload each : wanted) {
      try {
        complete(each);
      } catch (IOException | RuntimeException error) {
        each.failure = Failures.kind(error);
        each.reason = Failures.explain(error);
        abort(each);
      }
      open.removeIf(one -> one.upload.equals(each.upload));
    }
    return List.of(wanted);
  }

  private void complete(Upload wanted) throws IOException {
    Path target = new Path(wanted.target);
    FileSystem storage = target.getFileSystem(conf);
    Map<Integer, PartHandle> handles = new TreeMap<>();
    for (Part part : wanted.parts) {
      handles.put(part.number, BBPartHandle.from(decode(part.handle)));
    }
    try (MultipartUploader uploader = uploader(storage, target)) {
      get(uploader.complete(BBUploadHandle.from(decode(wanted.upload)), target, handles));
    }
    FileStatus status = storage.getFileStatus(target);
    if (status.getLen() != wanted.size) {
      throw new IOException(target + " has " + status.getLen() + " bytes, not " + wanted.size);
    }
    wanted.proven = Proof.plain(Listing.version(status)).equals(etag(wanted.parts));
  }

  /** The ETag that S3 gives to an object of several parts, unless it encrypts. */
  private static String etag(List<Part> parts) {
    try {
      MessageDigest md5 = MessageDigest.getInstance("MD5");
      parts.stream()
          .sorted((one, other) -> Integer.compare(one.number, other.number))
          .forEach(part -> md5.update(HexFormat.of().parseHex(part.digest)));
      return HexFormat.of().formatHex(md5.digest()) + "-" + parts.size();
    } catch (NoSuchAlgorithmException none) {
      return "";
    }
  }

  /** Gives up; what fails here is tried again by who asked. */
  List<String> abort(Upload[] wanted) {
    List<String> left = new ArrayList<>();
    for (Upload each : wanted) {
      if (!abort(each)) {
        left.add(each.upload);
      }
    }
    return left;
  }

  private boolean abort(Upload wanted) {
    Path target = new Path(wanted.target);
    try (MultipartUploader uploader = uploader(target.getFileSystem(conf), target)) {
      get(uploader.abort(BBUploadHandle.from(decode(wanted.upload)), target));
    } catch (IOException | RuntimeException error) {
      if (!Failures.kind(error).equals(Failures.MISSING)) {
        return false;
      }
    }
    open.removeIf(one -> one.upload.equals(wanted.upload));
    return true;
  }

  private void abortAll() {
    List<Upload> left = List.copyOf(open);
    if (left.isEmpty()) {
      return;
    }
    left.forEach(this::abort);
    stop.run();
    left.forEach(this::abort); // what was on its way just then may have come after the first time
  }

  static MultipartUploader uploader(FileSystem storage, Path target) throws IOException {
    return storage.createMultipartUploader(target).build();
  }

  static <T> T get(CompletableFuture<T> future) throws IOException {
    try {
      return future.get();
    } catch (ExecutionException error) {
      Throwable cause = error.getCause();
      throw cause instanceof IOException ? (IOException) cause : new IOException(cause);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw new IOException(interrupted);
    }
  }

  static String encode(ByteBuffer bytes) {
    byte[] copy = new byte[bytes.remaining()];
    bytes.duplicate().get(copy);
    return Base64.getEncoder().encodeToString(copy);
  }

  static ByteBuffer decode(String text) {
    return ByteBuffer.wrap(Base64.getDecoder().decode(text));
  }
}
