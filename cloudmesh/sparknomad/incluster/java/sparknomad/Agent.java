package sparknomad;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.BlockLocation;
import org.apache.hadoop.fs.FileSystem;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.SparkHadoopUtil;

/**
 * Does what it is asked, one JSON object a line on standard input, until that ends.
 *
 * <p>Called with a file of Spark's properties, and the file that answers are written to: one JSON
 * object a line, with the key {@code progress} while something runs, then {@code done} or
 * {@code failed}.
 */
public final class Agent {
  private static final ObjectMapper JSON =
      new ObjectMapper().configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false);

  private final Writer answers;
  private final Configuration conf;
  private final Uploads uploads;
  private Spread spread;

  private Agent(Writer answers) {
    this.answers = answers;
    this.conf = SparkHadoopUtil.get().newConfiguration(new SparkConf());
    this.uploads = new Uploads(conf, this::close);
  }

  public static void main(String[] arguments) throws IOException {
    int code = 0;
    configure(Path.of(arguments[0]));
    try (Writer answers = Files.newBufferedWriter(Path.of(arguments[1]), StandardCharsets.UTF_8);
        BufferedReader requests =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
      Agent agent = new Agent(answers);
      for (String line = requests.readLine(); line != null; line = requests.readLine()) {
        agent.answer(JSON.readTree(line));
      }
      agent.close();
    } catch (IOException | RuntimeException error) {
      System.err.println("sparknomad: the transfer agent failed: " + Failures.explain(error));
      code = 1;
    }
    // Threads of connectors may be left that nobody has to wait for.
    Runtime.getRuntime().exit(code);
  }

  /** Does what SparkSubmit would: every new SparkConf has these. */
  private static void configure(Path file) throws IOException {
    Properties properties = new Properties();
    try (Reader reader = Files.newBufferedReader(file, StandardCharsets.ISO_8859_1)) {
      properties.load(reader);
    }
    properties.forEach((key, value) -> System.setProperty((String) key, (String) value));
  }

  private void close() {
    if (spread != null) {
      spread.close();
    }
  }

  private void answer(JsonNode request) throws IOException {
    ObjectNode reply = JSON.createObjectNode();
    try {
      reply.set("done", JSON.valueToTree(run(request)));
    } catch (Exception error) {
      ObjectNode failed = reply.putObject("failed");
      failed.put("failure", Failures.kind(error));
      failed.put("reason", Failures.explain(error));
    }
    write(reply);
  }

  private synchronized void write(ObjectNode reply) throws IOException {
    answers.write(JSON.writeValueAsString(reply) + "\n");
    answers.flush();
  }

  private void tell(long bytes) {
    ObjectNode reply = JSON.createObjectNode();
    reply.put("progress", bytes);
    try {
      write(reply);
    } catch (IOException lost) {
      throw new IllegalStateException(lost);
    }
  }

  private Object run(JsonNode request) throws Exception {
    String operation = request.path("do").asText();
    switch (operation) {
      case "list":
        return Listing.of(
            conf, request.path("source").asText(),
            request.path("limit").asInt(Integer.MAX_VALUE));
      case "move":
        return move(request);
      case "begin":
        return uploads.begin(uploads(request));
      case "complete":
        return uploads.complete(uploads(request));
      case "abort":
        return uploads.abort(uploads(request));
      case "remove":
        return remove(request);
      case "check":
        return check(request);
      default:
        throw new IllegalArgumentException("unknown request " + operation);
    }
  }

  private List<Checked> check(JsonNode request) throws Exception {
    if (spread == null) {
      spread = new Spread(request.path("name").asText("check"));
    }
    Check.Subject[] subjects = JSON.treeToValue(request.path("subjects"), Check.Subject[].class);
    return spread.check(
        request.path("workers").asInt(1), request.path("seconds").asInt(60), subjects,
        request.path("python").asText("python3"));
  }

  private static Uploads.Upload[] uploads(JsonNode request) throws IOException {
    return JSON.treeToValue(request.path("uploads"), Uploads.Upload[].class);
  }

  private Object remove(JsonNode request) throws IOException {
    int removed = 0;
    for (JsonNode each : request.path("paths")) {
      org.apache.hadoop.fs.Path path = new org.apache.hadoop.fs.Path(each.asText());
      removed += path.getFileSystem(conf).delete(path, true) ? 1 : 0;
    }
    return removed;
  }

  private List<Moved> move(JsonNode request) throws Exception {
    List<Shard[]> tasks = new ArrayList<>();
    for (JsonNode task : request.path("tasks")) {
      Shard[] shards = JSON.treeToValue(task, Shard[].class);
      if (request.path("place").asBoolean()) {
        shards[0].hosts = hosts(shards[0]);
      }
      tasks.add(shards);
    }
    int threads = request.path("threads").asInt(4);
    if (!request.path("spread").asBoolean()) {
      return here(tasks, threads);
    }
    if (spread == null) {
      spread = new Spread(request.path("name").asText("transfer"));
    }
    return spread.move(tasks, threads, this::tell);
  }

  private List<Moved> here(List<Shard[]> tasks, int threads) throws Exception {
    List<Shard> all = new ArrayList<>();
    tasks.forEach(task -> all.addAll(Arrays.asList(task)));
    AtomicLong progress = new AtomicLong();
    Mover mover = new Mover(conf, Mover.hostName(), progress);
    ExecutorService worker = Executors.newSingleThreadExecutor();
    try {
      Future<List<Moved>> moved = worker.submit(() -> mover.moveAll(all, threads));
      while (true) {
        try {
          return moved.get(500, TimeUnit.MILLISECONDS);
        } catch (TimeoutException running) {
          tell(progress.get());
        }
      }
    } finally {
      worker.shutdownNow();
    }
  }

  private String[] hosts(Shard shard) throws IOException {
    org.apache.hadoop.fs.Path path = new org.apache.hadoop.fs.Path(shard.source);
    FileSystem storage = path.getFileSystem(conf);
    BlockLocation[] blocks = storage.getFileBlockLocations(path, shard.start, shard.length);
    return blocks.length == 0 ? new String[0] : blocks[0].getHosts();
  }
}
