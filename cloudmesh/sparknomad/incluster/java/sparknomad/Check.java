package sparknomad;

import java.io.File;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.SparkEnv;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.util.SerializableConfiguration;

/** Tries, on one executor, all that a job would need of its node and of its storages. */
final class Check implements FlatMapFunction<Iterator<Integer>, Checked> {
  private static final long serialVersionUID = 1L;
  private static final int PROBE = 8 * 1024 * 1024;
  private static final int CONNECT_MS = 10_000;
  private static final long LEAST_DISK = 1L << 30;

  /**
   * A storage: its name for the user, a directory in it, where it or the proxy before it answers,
   * whether it speaks TLS there, and whether to write.
   */
  public static final class Subject implements java.io.Serializable {
    private static final long serialVersionUID = 1L;
    public String name;
    public String url;
    public String endpoint = "";
    public String proxy = "";
    public boolean secure;
    public boolean writable;
  }

  private final Broadcast<SerializableConfiguration> conf;
  private final Subject[] subjects;
  private final String python;

  Check(Broadcast<SerializableConfiguration> conf, Subject[] subjects, String python) {
    this.conf = conf;
    this.subjects = subjects;
    this.python = python;
  }

  /** A step that may fail. */
  private interface Step {
    String run() throws Exception;
  }

  @Override
  public Iterator<Checked> call(Iterator<Integer> ignored) throws Exception {
    String node = Mover.hostName() + " executor " + SparkEnv.get().executorId();
    List<Checked> steps = new ArrayList<>();
    Checked clock = new Checked(node, "", "clock");
    clock.detail = Double.toString(System.currentTimeMillis() / 1e3);
    steps.add(clock);
    attempt(steps, node, "", "cores", 0,
        () -> Integer.toString(Runtime.getRuntime().availableProcessors()));
    attempt(steps, node, "", "memory", 0, Check::memory);
    attempt(steps, node, "", "disk", 0, Check::disk);
    attempt(steps, node, "", "java", 0, () -> System.getProperty("java.version"));
    attempt(steps, node, "", "python", 0, this::pythonVersion);
    for (Subject subject : subjects) {
      storage(steps, node, subject);
    }
    return steps.iterator();
  }

  private static boolean attempt(
      List<Checked> steps, String node, String subject, String name, long bytes, Step step) {
    Checked checked = new Checked(node, subject, name);
    long begun = System.nanoTime();
    try {
      checked.detail = step.run();
    } catch (Exception error) {
      checked.ok = false;
      checked.detail = Failures.explain(error);
    }
    checked.seconds = (System.nanoTime() - begun) / 1e9;
    checked.rate = checked.ok && bytes > 0 ? bytes / checked.seconds : 0;
    steps.add(checked);
    return checked.ok;
  }

  private static String memory() throws IOException {
    String free = "";
    for (String line : Files.readAllLines(Paths.get("/proc/meminfo"))) {
      if (line.startsWith("MemAvailable:")) {
        free = line.replaceAll("[^0-9]", "");
      }
    }
    long heap = Runtime.getRuntime().maxMemory() >> 20;
    return heap + " MiB for an executor, " + (Long.parseLong(free) >> 10) + " MiB free on the host";
  }

  private static String disk() throws IOException {
    String local = System.getenv("SPARK_LOCAL_DIRS");
    File place = new File(local == null || local.isEmpty() ? "." : local.split(",")[0]);
    long free = place.getUsableSpace();
    String told = (free >> 20) + " MiB free";
    if (free < LEAST_DISK) {
      throw new IOException("only " + told);
    }
    return told;
  }

  private String pythonVersion() throws Exception {
    Process process = new ProcessBuilder(python, "--version").redirectErrorStream(true).start();
    String told = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    if (!process.waitFor(10, TimeUnit.SECONDS) || process.exitValue() != 0) {
      throw new IOException(python + ": " + told.strip());
    }
    return told.strip().replace("Python ", "");
  }

  private void storage(List<Checked> steps, String node, Subject subject) {
    String name = subject.name;
    boolean direct = subject.proxy.isEmpty();
    String place = direct ? subject.endpoint : subject.proxy;
    if (!place.isEmpty()) {
      int colon = place.lastIndexOf(':');
      String host = place.substring(0, colon);
      int port = Integer.parseInt(place.substring(colon + 1));
      String what = direct ? "" : "the proxy " + place;
      if (!attempt(steps, node, name, "resolve", 0, () -> told(what, () -> resolve(host)))
          || !attempt(steps, node, name, "reach", 0, () -> told(what, () -> reach(host, port)))) {
        return;
      }
      // A connector would try a certificate that is not trusted again, for minutes.
      if (direct && subject.secure
          && !attempt(steps, node, name, "tls", 0, () -> secure(host, port))) {
        return;
      }
    }
    Configuration values = conf.value().value();
    Path directory = new Path(subject.url);
    if (!attempt(steps, node, name, "list", 0, () -> list(values, directory))) {
      return;
    }
    if (!subject.writable) {
      return;
    }
    Path probe = new Path(directory, "sparknomad-check-" + UUID.randomUUID());
    byte[] data = new byte[PROBE];
    new Random().nextBytes(data);
    boolean written =
        attempt(steps, node, name, "write", PROBE, () -> write(values, probe, data));
    if (written) {
      attempt(steps, node, name, "read", PROBE, () -> read(values, probe, data));
    }
    attempt(steps, node, name, "remove", 0, () -> remove(values, probe, written));
  }

  /** Says of what a step was, unless that is the storage itself. */
  private static String told(String what, Step step) throws Exception {
    if (what.isEmpty()) {
      return step.run();
    }
    try {
      String result = step.run();
      return result.isEmpty() ? what : what + ": " + result;
    } catch (IOException error) {
      throw new IOException(what + ": " + Failures.explain(error));
    }
  }

  private static String secure(String host, int port) throws IOException {
    try (Socket socket = new Socket()) {
      socket.connect(new InetSocketAddress(host, port), CONNECT_MS);
      socket.setSoTimeout(CONNECT_MS);
      SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
      try (SSLSocket wrapped = (SSLSocket) factory.createSocket(socket, host, port, true)) {
        SSLParameters parameters = wrapped.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        wrapped.setSSLParameters(parameters);
        wrapped.startHandshake();
        return wrapped.getSession().getProtocol();
      }
    }
  }

  private static String resolve(String host) throws IOException {
    return InetAddress.getByName(host).getHostAddress();
  }

  private static String reach(String host, int port) throws IOException {
    try (Socket socket = new Socket()) {
      socket.connect(new InetSocketAddress(host, port), CONNECT_MS);
    }
    return "";
  }

  private static String list(Configuration values, Path directory) throws IOException {
    FileSystem storage = directory.getFileSystem(values);
    try {
      storage.listStatusIterator(directory).hasNext();
    } catch (java.io.FileNotFoundException none) {
      // An object store has no empty directories; a bucket that is missing is another error.
      if (!none.getClass().equals(java.io.FileNotFoundException.class)
          || String.valueOf(none.getMessage()).contains("ucket")) {
        throw none;
      }
      return "nothing is there yet";
    }
    return "";
  }

  private static String write(Configuration values, Path probe, byte[] data) throws IOException {
    FileSystem storage = probe.getFileSystem(values);
    try (FSDataOutputStream sink = storage.create(probe, true)) {
      sink.write(data);
    }
    return "";
  }

  private static String read(Configuration values, Path probe, byte[] data) throws IOException {
    byte[] back = new byte[data.length];
    try (FSDataInputStream stream = probe.getFileSystem(values).open(probe)) {
      stream.readFully(0, back);
    }
    if (!Arrays.equals(back, data)) {
      throw new IOException("other bytes came back than were written");
    }
    return "";
  }

  private static String remove(Configuration values, Path probe, boolean written)
      throws IOException {
    FileSystem storage = probe.getFileSystem(values);
    if (!storage.delete(probe, false) && written) {
      throw new IOException("the probe could not be removed: " + probe);
    }
    if (storage.exists(probe)) {
      throw new IOException("the probe is still there after it was removed: " + probe);
    }
    return "";
  }
}
