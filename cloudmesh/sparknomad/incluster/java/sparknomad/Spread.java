package sparknomad;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongConsumer;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaFutureAction;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.api.java.function.FlatMapFunction;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.util.LongAccumulator;
import org.apache.spark.util.SerializableConfiguration;
import scala.Tuple2;
import scala.reflect.ClassTag;

/** Moves shards on a cluster's executors, where their bytes are if the storage tells. */
final class Spread implements AutoCloseable {
  private final JavaSparkContext context;
  private final Broadcast<SerializableConfiguration> conf;

  Spread(String name) {
    // A shard that failed says so itself; a task that is lost is done again by Spark.
    SparkConf settings = new SparkConf().setAppName(name).set("spark.speculation", "false");
    context = new JavaSparkContext(settings);
    conf = context.broadcast(new SerializableConfiguration(context.hadoopConfiguration()));
  }

  /**
   * Tries every executor, as soon as there are so many.
   *
   * @param wanted one executor for each worker
   * @param seconds how long to wait for them
   */
  List<Checked> check(int wanted, int seconds, Check.Subject[] subjects, String python)
      throws InterruptedException {
    long giveUp = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
    while (executors() < wanted && System.nanoTime() < giveUp) {
      Thread.sleep(200);
    }
    int there = Math.max(1, Math.min(wanted, executors()));
    List<Integer> numbers = new ArrayList<>();
    for (int number = 0; number < there; number++) {
      numbers.add(number);
    }
    double before = System.currentTimeMillis() / 1e3;
    JavaRDD<Integer> rdd = context.parallelize(numbers, there);
    // A barrier starts all of its tasks at once: none of them on an executor that has one.
    ClassTag<Checked> tag = scala.reflect.ClassTag$.MODULE$.apply(Checked.class);
    Check check = new Check(conf, subjects, python);
    List<Checked> steps = new ArrayList<>(
        rdd.rdd().barrier().mapPartitions(new OneByOne(check), false, tag)
            .toJavaRDD().collect());
    double after = System.currentTimeMillis() / 1e3;
    steps.forEach(step -> judgeClock(step, before, after));
    return steps;
  }

  private int executors() {
    return context.sc().statusTracker().getExecutorInfos().length - 1; // the driver is one of them
  }

  /** A node's clock has to lie between two looks at ours. */
  private static void judgeClock(Checked step, double before, double after) {
    if (step.step.equals("clock")) {
      double told = Double.parseDouble(step.detail);
      double skew = Math.max(0, Math.max(before - told, told - after));
      step.ok = skew < 5;
      step.detail = String.format(
          java.util.Locale.ROOT, skew == 0 ? "no skew" : "%.1f s off the driver's", skew);
    }
  }

  /**
   * Moves all shards.
   *
   * @param tasks the shards of each task
   * @param threads how many shards of a task are moved at a time
   * @param tell is told from time to time how many bytes have been moved
   */
  List<Moved> move(List<Shard[]> tasks, int threads, LongConsumer tell) throws Exception {
    LongAccumulator done = context.sc().longAccumulator("bytes");
    JavaRDD<Shard[]> rdd = placed(tasks);
    JavaFutureAction<List<Moved>> action =
        rdd.mapPartitions(new Task(conf, done, threads)).collectAsync();
    while (true) {
      try {
        return new ArrayList<>(action.get(500, TimeUnit.MILLISECONDS));
      } catch (TimeoutException running) {
        tell.accept(done.value());
      } catch (ExecutionException error) {
        throw error.getCause() instanceof Exception ? (Exception) error.getCause() : error;
      }
    }
  }

  /** Raw types: the element type of these lists differs between Scala 2.12 and 2.13. */
  @SuppressWarnings({"unchecked", "rawtypes"})
  private JavaRDD<Shard[]> placed(List<Shard[]> tasks) {
    scala.collection.immutable.List pairs = listOf(List.of());
    for (int index = tasks.size() - 1; index >= 0; index--) {
      Shard[] task = tasks.get(index);
      Tuple2 pair = new Tuple2<>(task, listOf(Arrays.asList(task[0].hosts)));
      pairs = pairs.$colon$colon(pair);
    }
    ClassTag<Shard[]> tag = scala.reflect.ClassTag$.MODULE$.apply(Shard[].class);
    return context.sc().makeRDD(pairs, tag).toJavaRDD();
  }

  @SuppressWarnings({"unchecked", "rawtypes"})
  private static scala.collection.immutable.List listOf(List<String> items) {
    scala.collection.immutable.List list = scala.collection.immutable.Nil$.MODULE$;
    for (int index = items.size() - 1; index >= 0; index--) {
      list = list.$colon$colon(items.get(index));
    }
    return list;
  }

  @Override
  public void close() {
    context.stop();
  }

  private static final class Task implements FlatMapFunction<Iterator<Shard[]>, Moved> {
    private static final long serialVersionUID = 1L;
    private final Broadcast<SerializableConfiguration> conf;
    private final LongAccumulator done;
    private final int threads;

    Task(Broadcast<SerializableConfiguration> conf, LongAccumulator done, int threads) {
      this.conf = conf;
      this.done = done;
      this.threads = threads;
    }

    @Override
    public Iterator<Moved> call(Iterator<Shard[]> tasks) throws Exception {
      Configuration values = conf.value().value();
      AtomicLong progress = new AtomicLong();
      Mover mover = new Mover(values, Mover.hostName(), progress);
      List<Moved> moved = new ArrayList<>();
      while (tasks.hasNext()) {
        moved.addAll(mover.moveAll(Arrays.asList(tasks.next()), threads));
      }
      done.add(progress.get());
      return moved.iterator();
    }
  }
}
