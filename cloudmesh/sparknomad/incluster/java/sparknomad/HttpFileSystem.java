package sparknomad;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.EtagSource;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSInputStream;
import org.apache.hadoop.fs.CanSetReadahead;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.util.Progressable;

/**
 * What lies on a web server, one object at a time: it can be read, in ranges, and nothing else.
 *
 * <p>{@code fs.http.authorization.HOST:PORT} is sent to that server as the header of that name.
 */
public final class HttpFileSystem extends FileSystem {
  private static final int MILLISECONDS = 60_000;
  private static final int REDIRECTS = 5;
  private static final String PLAIN = "-._~/?!$&'()*+,;=:@";

  private URI uri;

  @Override
  public void initialize(URI name, Configuration conf) throws IOException {
    super.initialize(name, conf);
    setConf(conf);
    uri = URI.create(name.getScheme() + "://" + name.getAuthority());
  }

  @Override
  public URI getUri() {
    return uri;
  }

  @Override
  public String getScheme() {
    return uri.getScheme();
  }

  /** A file's status with what its server calls its version. */
  private static final class Status extends FileStatus implements EtagSource {
    private static final long serialVersionUID = 1L;
    private final String etag;

    Status(long length, long modified, Path path, String etag) {
      super(length, false, 1, 128L << 20, modified, path);
      this.etag = etag;
    }

    @Override
    public String getEtag() {
      return etag;
    }

    @Override
    public boolean equals(Object other) {
      return super.equals(other);
    }

    @Override
    public int hashCode() {
      return super.hashCode();
    }
  }

  /** The URL of a path, as it was written: what follows a question mark is its query. */
  private URL url(Path path) throws IOException {
    return new URL(uri.getScheme() + "://" + uri.getAuthority() + escaped(path.toUri().getPath()));
  }

  /** Escapes what no URL has (RFC 3986); what is escaped already stays as it is. */
  static String escaped(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    StringBuilder made = new StringBuilder(bytes.length);
    for (int at = 0; at < bytes.length; at++) {
      char one = (char) (bytes[at] & 0xff);
      boolean escape = one == '%' && at + 2 < bytes.length
          && Character.digit(bytes[at + 1], 16) >= 0 && Character.digit(bytes[at + 2], 16) >= 0;
      if (escape || one < 128 && (Character.isLetterOrDigit(one) || PLAIN.indexOf(one) >= 0)) {
        made.append(one);
      } else {
        made.append(String.format("%%%02X", (int) one));
      }
    }
    return made.toString();
  }

  private HttpURLConnection connect(Path path, String method, String range) throws IOException {
    URL place = url(path);
    for (int count = 0; count <= REDIRECTS; count++) {
      HttpURLConnection connection = (HttpURLConnection) place.openConnection();
      connection.setRequestMethod(method);
      connection.setInstanceFollowRedirects(false);
      connection.setConnectTimeout(MILLISECONDS);
      connection.setReadTimeout(MILLISECONDS);
      connection.setRequestProperty("Accept-Encoding", "identity");
      String secret = getConf().get("fs.http.authorization." + place.getAuthority());
      if (secret != null) {
        connection.setRequestProperty("Authorization", secret);
      }
      if (range != null) {
        connection.setRequestProperty("Range", range);
      }
      int status = connection.getResponseCode();
      if (status < 300 || status > 399) {
        return connection;
      }
      place = new URL(place, connection.getHeaderField("Location"));
      connection.disconnect();
    }
    throw new IOException(path + " is redirected more than " + REDIRECTS + " times");
  }

  private static void check(HttpURLConnection connection, Path path) throws IOException {
    int status = connection.getResponseCode();
    if (status == 404 || status == 410) {
      throw new FileNotFoundException(path + ": the server has nothing of this name");
    }
    if (status == 401 || status == 403) {
      throw new AccessDeniedException(path + ": the server answers " + status);
    }
    if (status >= 400) {
      throw new IOException(path + ": the server answers " + status);
    }
  }

  @Override
  public FileStatus getFileStatus(Path path) throws IOException {
    HttpURLConnection connection = connect(path, "HEAD", null);
    long length = connection.getContentLengthLong();
    int status = connection.getResponseCode();
    // A URL that was signed for GET refuses HEAD.
    boolean refused = status == 401 || status == 403 || status == 405 || status == 501;
    if (refused || (status < 300 && length < 0)) {
      connection.disconnect();
      connection = connect(path, "GET", "bytes=0-0");
      check(connection, path);
      length = total(connection);
    }
    check(connection, path);
    String etag = connection.getHeaderField("ETag");
    long modified = connection.getLastModified();
    connection.disconnect();
    if (length < 0) {
      throw new IOException(path + ": the server does not tell its length");
    }
    return new Status(length, modified, path, etag == null ? "" : etag);
  }

  private static long total(HttpURLConnection connection) {
    String range = connection.getHeaderField("Content-Range");
    if (range == null) {
      return connection.getContentLengthLong();
    }
    String whole = range.substring(range.indexOf('/') + 1);
    return whole.equals("*") ? -1 : Long.parseLong(whole);
  }

  @Override
  public FSDataInputStream open(Path path, int bufferSize) throws IOException {
    return new FSDataInputStream(new Stream(path));
  }

  /** Reads from one connection, and opens another where it is told to go elsewhere. */
  private final class Stream extends FSInputStream implements CanSetReadahead {
    private final Path path;
    private long position;
    private long ahead;
    private InputStream current;
    private String etag;

    Stream(Path path) {
      this.path = path;
    }

    @Override
    public void setReadahead(Long length) {
      ahead = length == null ? 0 : length;
    }

    @Override
    public void seek(long target) throws IOException {
      if (target != position) {
        close();
        position = target;
      }
    }

    @Override
    public long getPos() {
      return position;
    }

    @Override
    public boolean seekToNewSource(long target) {
      return false;
    }

    private InputStream stream() throws IOException {
      if (current == null) {
        String end = ahead > 0 ? Long.toString(position + ahead - 1) : "";
        boolean part = position > 0 || ahead > 0;
        HttpURLConnection connection =
            connect(path, "GET", part ? "bytes=" + position + "-" + end : null);
        if (connection.getResponseCode() == 416) {
          return InputStream.nullInputStream();
        }
        check(connection, path);
        notice(connection.getHeaderField("ETag"));
        current = connection.getInputStream();
        if (part && connection.getResponseCode() == 200) {
          current.skipNBytes(position); // a server that knows no ranges
        }
      }
      return current;
    }

    private void notice(String told) throws IOException {
      if (etag != null && !etag.equals(told)) {
        throw new Failures.ChangedException(path + " has changed while it was read");
      }
      etag = told;
    }

    @Override
    public int read() throws IOException {
      byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
    }

    @Override
    public int read(byte[] buffer, int offset, int length) throws IOException {
      int count = stream().read(buffer, offset, length);
      if (count > 0) {
        position += count;
      }
      return count;
    }

    @Override
    public void close() throws IOException {
      if (current != null) {
        current.close();
        current = null;
      }
    }
  }

  @Override
  public FileStatus[] listStatus(Path path) throws IOException {
    return new FileStatus[] {getFileStatus(path)};
  }

  private static UnsupportedOperationException readOnly() {
    return new UnsupportedOperationException("web servers can only be read");
  }

  @Override
  public FSDataOutputStream create(Path path, FsPermission permission, boolean overwrite,
      int bufferSize, short replication, long blockSize, Progressable progress) {
    throw readOnly();
  }

  @Override
  public FSDataOutputStream append(Path path, int bufferSize, Progressable progress) {
    throw readOnly();
  }

  @Override
  public boolean rename(Path source, Path target) {
    throw readOnly();
  }

  @Override
  public boolean delete(Path path, boolean recursive) {
    throw readOnly();
  }

  @Override
  public boolean mkdirs(Path path, FsPermission permission) {
    throw readOnly();
  }

  @Override
  public void setWorkingDirectory(Path directory) {
    // There is none: every path is absolute.
  }

  @Override
  public Path getWorkingDirectory() {
    return new Path(uri + "/");
  }
}
