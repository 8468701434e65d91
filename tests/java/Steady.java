import java.io.PrintStream;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryType;

/** Fills a part of its heap, collects, says what the machine tells of itself, and then does nothing. */
public class Steady {
    private static final byte[][] KEPT = new byte[20][];

    public static void main(String[] arguments) throws InterruptedException {
        for (int i = 0; i < 200; i++) {
            KEPT[i % KEPT.length] = new byte[1 << 20];
        }
        System.gc();
        report(System.out);
        Thread.sleep(Long.MAX_VALUE);
    }

    private static void report(PrintStream out) {
        // With the serial collector there are two survivor spaces, of which only one counts here.
        long committed = 0;
        long used = 0;
        for (MemoryPoolMXBean pool : ManagementFactory.getMemoryPoolMXBeans()) {
            if (pool.getType() == MemoryType.HEAP) {
                long size = pool.getUsage().getCommitted();
                committed += pool.getName().contains("Survivor") ? 2 * size : size;
                used += pool.getUsage().getUsed();
            }
        }
        out.println("committed " + committed);
        out.println("used " + used);
        long collected = 0;
        for (GarbageCollectorMXBean collector : ManagementFactory.getGarbageCollectorMXBeans()) {
            collected += collector.getCollectionTime();
        }
        out.println("collection_ms " + collected);
        out.println("version " + System.getProperty("java.version"));
        out.println("done 1");
    }
}
