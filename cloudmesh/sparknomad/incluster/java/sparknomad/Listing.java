package sparknomad;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.EtagSource;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocatedFileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RemoteIterator;

/** The objects that a place or a pattern stands for. */
public final class Listing {
  /** One object: its place, its name below the root, and what changes with its content. */
  public static final class Entry {
    public String source;
    public String name;
    public long size;
    public String version;

    /** Milliseconds since the epoch. */
    public long modified;
  }

  /** Whether there is anything of this name. */
  public boolean found;

  /** Whether the place is one object. */
  public boolean isFile;

  /** What the names are relative to, as Hadoop names it. */
  public String root;

  public List<Entry> objects = new ArrayList<>();

  /** How long the storage took to say what the place is, in seconds. */
  public double seconds;

  /** How many requests were made at least. */
  public int requests;

  /**
   * Lists a place.
   *
   * @param source a place, or a pattern as Hadoop's globs are
   * @param limit stop after so many objects
   */
  static Listing of(Configuration conf, String source, int limit) throws IOException {
    Listing listing = new Listing();
    boolean directory = source.endsWith("/");
    Path path = new Path(source);
    FileSystem storage = path.getFileSystem(conf);
    FileStatus literal = listing.status(storage, path);
    if (literal != null) {
      listing.found = true;
      listing.isFile = literal.isFile();
      Path root = literal.isFile() ? parent(path) : path;
      listing.root = root.toString();
      listing.collect(storage, root, literal, limit);
      return listing;
    }
    if (directory || !hasGlob(source)) {
      return listing;
    }
    listing.glob(storage, path, limit);
    return listing;
  }

  private static boolean hasGlob(String text) {
    return text.chars().anyMatch(each -> "*?[{".indexOf(each) >= 0);
  }

  private static Path parent(Path path) {
    Path above = path.getParent();
    return above == null ? path : above;
  }

  private FileStatus status(FileSystem storage, Path path) throws IOException {
    long begun = System.nanoTime();
    requests++;
    try {
      return storage.getFileStatus(path);
    } catch (FileNotFoundException missing) {
      if (missing.getClass().getSimpleName().startsWith("UnknownStore")) {
        throw missing;
      }
      return null;
    } finally {
      seconds = (System.nanoTime() - begun) / 1e9;
    }
  }

  private void glob(FileSystem storage, Path pattern, int limit) throws IOException {
    Path top = pattern;
    for (Path each = pattern; each != null && !each.isRoot(); each = each.getParent()) {
      if (hasGlob(each.getName())) {
        top = each.getParent();
      }
    }
    root = top.toString();
    requests++;
    FileStatus[] matches = storage.globStatus(pattern);
    for (FileStatus match : matches == null ? new FileStatus[0] : matches) {
      found = true;
      collect(storage, top, match, limit);
    }
  }

  private void collect(FileSystem storage, Path top, FileStatus status, int limit)
      throws IOException {
    if (status.isFile()) {
      add(top, status);
      return;
    }
    requests++;
    RemoteIterator<LocatedFileStatus> below = storage.listFiles(status.getPath(), true);
    while (below.hasNext() && objects.size() < limit) {
      add(top, below.next());
    }
  }

  private void add(Path top, FileStatus status) {
    Entry entry = new Entry();
    entry.source = status.getPath().toString();
    String above = top.toUri().getPath();
    String own = status.getPath().toUri().getPath();
    entry.name = own.substring(above.endsWith("/") ? above.length() : above.length() + 1);
    entry.size = status.getLen();
    entry.version = version(status);
    entry.modified = status.getModificationTime();
    objects.add(entry);
  }

  /** An ETag where the storage has one, else what else tells one content from another. */
  static String version(FileStatus status) {
    if (status instanceof EtagSource) {
      String etag = ((EtagSource) status).getEtag();
      if (etag != null && !etag.isEmpty()) {
        return etag;
      }
    }
    String id = call(status, "getFileId");
    return (id.isEmpty() ? "" : id + "-") + status.getModificationTime();
  }

  private static String call(FileStatus status, String name) {
    try {
      Method method = status.getClass().getMethod(name);
      return String.valueOf(method.invoke(status));
    } catch (ReflectiveOperationException none) {
      return "";
    }
  }
}
